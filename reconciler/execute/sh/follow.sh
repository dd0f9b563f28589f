# r_follow OUT ERR PID: passes on the run's output from these offsets (bytes) to 3 and 4 as it grows, until PID is
# gone and everything is passed on. Fails when 5 ends before that: then whoever reads has gone.
r_follow() {
    if tail -n 0 --pid=$$ /dev/null 2>/dev/null; then
        # GNU tail sleeps until the file grows, and looks for PID ten times a second
        tail -c "+$(($1 + 1))" -f -s 0.1 "--pid=$3" "$r_run/out" >&3 2>/dev/null 5<&- &
        r_a=$!
        tail -c "+$(($2 + 1))" -f -s 0.1 "--pid=$3" "$r_run/err" >&4 2>/dev/null 5<&- &
        r_b=$!
    else
        # the offset belongs to the open file, so each cat goes on where the last one ended
        (
            exec 7<"$r_run/out" 8<"$r_run/err" 5<&-
            [ "$1" = 0 ] || dd bs=1 skip="$1" count=0 <&7
            [ "$2" = 0 ] || dd bs=1 skip="$2" count=0 <&8
            while [ -d "/proc/$3" ]; do
                cat <&7 >&3 && cat <&8 >&4 || exit 1
                sleep 0.2 || sleep 1
            done
            cat <&7 >&3
            cat <&8 >&4
        ) 2>/dev/null &
        r_a=$! r_b=$!
    fi
    (
        while read -r r_line; do :; done
        kill -s KILL "$r_a" "$r_b"
    ) <&5 3>&- 4>&- 2>/dev/null &
    r_c=$!
    wait "$r_a" && wait "$r_b" || return 1
    kill -s KILL "$r_c" 2>/dev/null
    return 0
}
