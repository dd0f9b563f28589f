# Copies a live SQLite database with its own backup interface and keeps the newest three copies.
set -eu
mkdir -p "$WORK/backup"
cd "$WORK"
python3 - <<'PYTHON'
import sqlite3, time
live = sqlite3.connect("orders.db")
with live:
    live.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, at TEXT)")
    live.execute("INSERT INTO orders (at) VALUES (datetime('now'))")
copy = sqlite3.connect(f"backup/orders-{time.strftime('%Y%m%dT%H%M%S')}.db")
with copy:
    live.backup(copy)
print("orders backed up:", copy.execute("SELECT count(*) FROM orders").fetchone()[0])
PYTHON
ls -1 backup/orders-*.db | sort -r | tail -n +4 | while read -r old; do
    rm -- "$old"
    echo "rotated away: $old"
done
