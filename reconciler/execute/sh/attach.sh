# Attaches to a durable run. Behind proc.sh, folder.sh and follow.sh, in front of them r_id r_mark, and r_out r_err: the bytes
# of each stream that were received before.
exec 3>&1 4>&2 5<&0 </dev/null 2>/dev/null
trap '' PIPE
r_say() {
    printf '%s%s\n' "$r_mark" "$1" >&3
}
if [ ! -d "$r_run" ]; then
    r_say unknown
    exit 0
fi
r_tries=0
until r_load; do
    # its start is under way, or died. After a while it must not happen any more: this is its file pid then
    r_tries=$((r_tries + 1))
    if [ "$r_tries" -gt 30 ] && (set -C && printf 'void\n' >"$r_run/pid") || [ "$r_line" = void ]; then
        r_say void
        exit 0
    fi
    if [ "$r_tries" -gt 60 ]; then
        r_say unclear
        exit 0
    fi
    sleep 0.1 || sleep 1
done
read -r r_now </proc/sys/kernel/random/boot_id
r_age=-
if [ "$r_now" = "$r_boot" ]; then
    read -r r_now r_x </proc/uptime
    r_age=$((${r_now%.*} - ${r_up%.*}))
fi
r_noted
r_say "attached $r_age $r_spec $r_why"
printf '%s\n' "$r_mark" >&4
# how long nobody knew of its end
r_ago=0
if r_ended && r_then=$(date -r "$r_run/exit" +%s); then r_ago=$(($(date +%s) - r_then)); fi
# of a command that became another account's, only ours may be seen
r_watch=
if r_lives "$r_pid" "$r_start"; then
    r_watch=$r_pid
elif r_waits; then
    r_watch=$r_rpid
fi
if r_ended || [ "$r_age" = - ] || [ -z "$r_watch" ]; then
    tail -c "+$((r_out + 1))" "$r_run/out" >&3 && tail -c "+$((r_err + 1))" "$r_run/err" >&4 || exit 1
else
    r_follow "$r_out" "$r_err" "$r_watch" || exit 1
fi
r_word='gone -'
while :; do
    if r_ended; then
        r_word="$r_code $r_flag"
        break
    fi
    if [ "$r_age" = - ]; then
        r_word='rebooted -'
        break
    fi
    r_waits || r_lives "$r_pid" "$r_start" || { r_ended || break; continue; }
    sleep 0.1 || sleep 1
done
r_noted
while read -r r_line; do r_say "killed $r_line"; done <"$r_run/killed"
printf '%send\n' "$r_mark" >&4
r_say "ended both $r_word $r_ago $r_why"
exit 0
