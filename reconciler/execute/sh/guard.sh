# r_guard: ends the run once it has written more than r_limit bytes of output (r_most: in words); or goes on writing, after its
# first 64 MiB, while its file system has less than 64 MiB left: the host and its other runs need those. It outlives our
# connection, and sleeps until there is so much output: what a quiet run costs is a look whether it is there.
r_guard() {
    cd "$r_run" || return
    # on a host that has much to do many runs end just now: one process that waits costs less than three that read
    sleep 0.1 || sleep 1
    read -r r_line <exit && [ "$r_line" = - ] || return
    [ -s pid ] || sleep 1
    read -r r_pid r_line <pid
    # GNU tail, as in r_follow; elsewhere nothing tells, and the loop looks now and then
    if tail -n 0 "--pid=$$" /dev/null; then
        LC_ALL=C tail -q -c +1 -f "--pid=$r_pid" out err | r_watch
    else
        r_watch </dev/null
    fi
}

# r_watch: the same, with the output on its stdin.
r_watch() {
    r_size=0 r_seen=0 r_next=67108864
    while read -r r_line <exit && [ "$r_line" = - ] && [ -d "/proc/$r_pid" ]; do
        [ "$r_next" -le "$r_limit" ] || r_next=$((r_limit + 1))
        LC_ALL=C head -c "$((r_next - r_seen))" >/dev/null
        r_seen=$r_next r_last=$r_size r_text=
        r_measure
        if [ "$r_size" -gt "$r_limit" ]; then
            r_text="its output is longer than the limit of $r_most"
        elif [ "$r_size" -gt 67108864 ] && [ "$r_size" != "$r_last" ]; then
            for r_item in $(df -Pk . | tail -n 1); do
                case $r_item in [0-9]*%) break ;; esac
                r_free=$r_item
            done
            [ "$r_free" -lt 65536 ] &&
                r_text="the disk of its folder is nearly full, and its output has $((r_size / 1048576))MiB"
        fi
        if [ -n "$r_text" ]; then
            r_stop
            return
        fi
        # nothing told: one that writes is looked at more often
        [ "$r_size" -ge "$r_next" ] || sleep "$((r_size == r_last ? 5 : 1))"
        r_next=$((r_size + 33554432))
    done
}

# r_measure: sets r_size to the bytes of output.
r_measure() {
    set -- $(LC_ALL=C TIME_STYLE=locale ls -ln out err)
    r_size=$(($5 + ${14}))
}

# r_stop: TERM, the grace, KILL; what goes on to pour has no grace. Who was ending it before goes on with that.
r_stop() {
    read -r r_line <why
    [ -n "$r_line" ] || printf '%-200s\n' "cancelled $r_text" 1<>why
    kill -s TERM -- "-$r_pid"
    set -- $r_spec
    r_tries=0 r_last=$r_size
    while [ -d "/proc/$r_pid" ] && [ "$r_tries" -lt "$(($2 * 10))" ] && [ "$((r_size - r_last))" -lt 67108864 ]; do
        if sleep 0.1; then r_tries=$((r_tries + 1)); else sleep 1; r_tries=$((r_tries + 10)); fi
        r_measure
    done
    read -r r_line <"/proc/$r_pid/comm" && printf '%s %s\n' "$r_pid" "$r_line" >>killed
    kill -s KILL -- "-$r_pid"
}
