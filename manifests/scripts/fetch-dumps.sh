# Fetches last night's dumps from the replica and keeps them under their date.
set -euo pipefail
day=$(date +%F)
mkdir -p "/srv/backup/$day"
rsync --archive --partial --timeout=600 "backup@10.20.0.22:/backup/*.dump" "/srv/backup/$day/"
for dump in "/srv/backup/$day"/*.dump; do
    pg_restore --list "$dump" > /dev/null
    sha256sum "$dump"
done
