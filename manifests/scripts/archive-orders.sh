# Moves closed orders that are old enough into the archive table, a batch at a time.
set -eu
moved=1
while [ "$moved" -gt 0 ]; do
    moved=$(psql --no-psqlrc -At --set=older="$OLDER_THAN" orders <<'SQL'
WITH gone AS (
    DELETE FROM orders WHERE id IN (
        SELECT id FROM orders WHERE closed_at < now() - :'older'::interval ORDER BY id LIMIT 5000
    ) RETURNING *
), kept AS (INSERT INTO orders_archive SELECT * FROM gone RETURNING 1)
SELECT count(*) FROM kept;
SQL
    )
    echo "archived: $moved"
done
