# Ends a durable run and reports. Behind proc.sh, folder.sh and tree.sh, in front of them r_id r_grace r_mark r_reason.
trap '' PIPE
r_only= r_not=
read -r r_not r_line </proc/self/stat
r_root= r_start= r_session=
if r_load; then r_root=$r_pid r_session=$r_pid; fi
r_tell() {
    printf '%s%s %s %s\n' "$r_mark" "$1" "$2" "$3"
    if [ "$1" = killed ]; then printf '%s %s\n' "$2" "$3" 2>/dev/null >>"$r_run/killed"; fi
}
r_count=0 r_alive=0 r_before=
r_noted && r_before=1
if [ -n "$r_before" ] || ! r_ended; then
    # before the first signal, so that whoever comes after us knows; the first one counts
    [ -n "$r_before" ] || printf '%-200s\n' "$r_reason" 2>/dev/null 1<>"$r_run/why"
    if [ -n "$r_before" ] || ! r_ended; then r_end; fi
    if [ -z "$r_before" ] && [ "$r_alive" = 0 ] && r_ended; then
        # it was quicker
        printf '\n%-200s' '' 1<>"$r_run/why"
    fi
fi
printf '%sdone %s %s\n' "$r_mark" "$r_alive" "$r_count"
exit 0
