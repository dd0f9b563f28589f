# r_guard: ends the run once it has written more than r_limit bytes of output; or goes on writing, after its first 64 MiB,
# while its file system has less than 64 MiB left: the host and its other runs need those. It outlives our connection.
r_guard() {
    cd "$r_run" || return
    [ -s pid ] || sleep 1
    read -r r_pid r_line <pid
    r_last=-1 r_size=0
    while read -r r_line <exit && [ "$r_line" = - ] && [ -d "/proc/$r_pid" ]; do
        # one that writes is looked at more often
        sleep "$((r_size == r_last ? 5 : 1))"
        r_last=$r_size r_text=
        set -- $(LC_ALL=C TIME_STYLE=locale ls -ln out err)
        r_size=$(($5 + ${14}))
        if [ "$r_size" -gt "$r_limit" ]; then
            r_text="its output is longer than the limit of $r_limit bytes"
        elif [ "$r_size" -gt 67108864 ] && [ "$r_size" != "$r_last" ]; then
            for r_item in $(df -Pk . | tail -n 1); do
                case $r_item in [0-9]*%) break ;; esac
                r_free=$r_item
            done
            [ "$r_free" -lt 65536 ] && r_text="the disk of its folder is nearly full, and its output has $r_size bytes"
        fi
        [ -n "$r_text" ] || continue
        # who was ending it before goes on with that
        read -r r_line <why
        [ -n "$r_line" ] || printf '%-200s\n' "cancelled $r_text" 1<>why
        kill -s TERM -- "-$r_pid"
        set -- $r_spec
        r_tries=0
        while [ -d "/proc/$r_pid" ] && [ "$r_tries" -lt "$2" ]; do
            r_tries=$((r_tries + 1))
            sleep 1
        done
        kill -s KILL -- "-$r_pid"
        return
    done
}
