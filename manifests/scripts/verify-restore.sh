# Restores the newest dump of the orders into an empty database and counts what came back.
set -euo pipefail
dump=$(find /srv/backup -name 'orders.dump' -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
[ -n "$dump" ] || { echo "there is no dump of the orders" >&2; exit 1; }
dropdb --if-exists restore_check
createdb restore_check
trap 'dropdb --if-exists restore_check' EXIT
pg_restore --jobs=2 --dbname=restore_check "$dump"
rows=$(psql --no-psqlrc -At --command 'SELECT count(*) FROM orders' restore_check)
echo "$dump: $rows orders restored"
[ "$rows" -gt 0 ]
