# Ends a run and reports. Behind tree.sh, in front of it r_id r_root r_start r_session r_grace r_mark.
r_only= r_not=
[ ! -r /proc/self/stat ] || read -r r_not r_line </proc/self/stat
r_end
for r_item in "${TMPDIR:-/tmp}" /tmp /dev/shm /var/tmp "$HOME"; do
    if [ -d "$r_item/reconciler-$r_id" ]; then rm -rf "$r_item/reconciler-$r_id"; fi
done
printf '%sdone %s %s\n' "$r_mark" "$r_alive" "$r_count"
exit 0
