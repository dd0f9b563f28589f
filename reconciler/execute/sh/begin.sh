# Starts a durable run and waits for its end. Sent to a fresh sh on its stdin as part of one { … } group: in front
# of it the assignments r_id r_mark r_dir r_spec r_limit r_name r_text and follow.sh, guard.sh and sane.sh, behind it the
# command's environment and its start, then finish.sh.
#
# Three shells: this one waits for the command, records its end and then passes its output on; the viewer does
# nothing unless it is told that the run takes longer; the subshell below becomes the command.
r_refuse() {
    [ -z "$1" ] || printf '%s\n' "$1" >&2
    printf '%srefused\n' "$r_mark"
    exit 1
}
r_undone() {
    rm -rf "$r_run"
    exec >&3 2>&4
    r_refuse "$1"
}

# r_since LINE: sets r_start to the start time in a line of /proc/PID/stat, field 22. Shells whose name is one word, as ours
# should be, need no search for its end, which for some of them costs more than a process.
r_since() {
    set -- $1
    case "$2 $3" in
    '('*') '?) r_start=${22} ;;
    *)
        r_start=$*
        set -- ${r_start##*\) }
        r_start=${20}
        ;;
    esac
}

r_base=$HOME/.local/state/reconciler/runs
r_run=$r_base/$r_id
r_no="and without a writable place only \`durable: false\` can run"
# mkdir is the start: whoever comes second attaches. Loading a locale would be a quarter of what it costs
if ! LC_ALL=C mkdir -m 700 "$r_run" 2>/dev/null; then
    if [ ! -d "$r_base" ]; then
        (umask 077 && mkdir -p "$r_base") || r_refuse "$r_base cannot be made, $r_no"
    fi
    if [ -d "$r_run" ] || ! mkdir -m 700 "$r_run"; then
        if [ -d "$r_run" ]; then
            printf '%sexists\n' "$r_mark"
            exit 0
        fi
        r_refuse "$r_run cannot be made, $r_no"
    fi
fi

exec 3>&1 4>&2 5<&0 </dev/null
# the connection may go: its end is nothing to us
trap '' PIPE HUP
r_setsid=
for r_try in /usr/bin/setsid /bin/setsid; do
    if [ -x "$r_try" ]; then r_setsid=$r_try; break; fi
done
[ -n "$r_setsid" ] || r_setsid=$(command -v setsid) || r_undone "there is no setsid here: only \`durable: false\` can run"
{ read -r r_boot </proc/sys/kernel/random/boot_id && read -r r_up r_x </proc/uptime; } 2>/dev/null ||
    r_undone "there is no /proc here: only \`durable: false\` can run"
# room for what is written at the end, when the disk may be full. Of why the first line counts: `read` takes a byte at a time
printf '%s' "$r_text" >"$r_run/$r_name" && printf '%-14s\n' - >"$r_run/exit" && printf '\n%-200s' '' >"$r_run/why" &&
    : >"$r_run/out" && : >"$r_run/err" || r_undone "$r_run cannot be written, $r_no"
# our stdin is what tells us from a later process with our number, see r_waits
exec 2>/dev/null <"$r_run/why"
(
    read -r r_line <&5 || r_line=
    # it takes longer, or nobody listens any more
    r_guard </dev/null >/dev/null 3>&- 4>&- 5<&- &
    [ -n "$r_line" ] || exit 1
    # from here on it passes everything on itself, and nobody ends it early
    trap '' TERM
    printf '%s\n' "$r_mark" >&4
    read -r r_pid r_x <"$r_run/pid" && r_follow 0 0 "$r_pid" && exit 7
    exit 8
) &
r_viewer=$!
(
    exec </dev/null 2>&4 5<&-
    trap - HUP
    r_sane
    unset CDPATH
    if [ -n "$r_dir" ]; then cd "$r_dir" || exit 1; else cd 2>/dev/null || cd /; fi
    read -r r_line </proc/self/stat
    r_since "$r_line"
    set -- "$r_setsid" "$r_run" "$r_name" "${r_line%% *} $r_start $$ - $r_boot $r_up $r_spec ."
