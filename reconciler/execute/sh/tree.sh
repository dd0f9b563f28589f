# Functions that find and end all processes of one run. Behind proc.sh; POSIX sh, and /proc where there is one.
#
# A process belongs to the run r_id if
#   - it has RECONCILER_EXECUTION_ID=r_id in its environment, or
#   - it is r_root, the run's shell, and started when r_start says (empty: it has the id in its environment), or
#   - a process that belongs to the run is its parent, or
#   - it is in the session r_session, which is the run's own (empty: it is not), or
#   - it belonged to the run when we looked before.
# r_grace: seconds between TERM and KILL. r_not: a process to leave alone, ourselves. r_only=alive: do nothing
# unless r_root still lives.

r_grep=

# r_carriers: sets r_list to the processes with the run's id in their environment.
r_carriers() {
    r_list=
    if [ -z "$r_grep" ]; then
        # does this grep see an entry of its own between two NULs?
        if printf 'A=1\000B=2\000' | grep -q '^B=2$' 2>/dev/null; then r_grep=whole; else r_grep=each; fi
    fi
    if [ "$r_grep" = whole ]; then
        for r_file in $(grep -l "^RECONCILER_EXECUTION_ID=$r_id\$" /proc/[0-9]*/environ 2>/dev/null); do
            r_file=${r_file#/proc/}
            r_list="$r_list ${r_file%/environ}"
        done
    else
        for r_file in /proc/[0-9]*/environ; do
            [ -r "$r_file" ] || continue
            if tr '\000' '\n' 2>/dev/null <"$r_file" | grep -qx "RECONCILER_EXECUTION_ID=$r_id"; then
                r_file=${r_file#/proc/}
                r_list="$r_list ${r_file%/environ}"
            fi
        done
    fi
}

# r_add PID: takes a living process into r_found (PID:BEGIN …) and r_pids.
r_add() {
    case $r_pids in *" $1 "*) return ;; esac
    [ "$1" != "$r_not" ] && r_stat "$1" && [ "$r_state" != Z ] && [ "$r_state" != X ] || return 0
    r_found="$r_found $1:$r_begin"
    r_pids="$r_pids$1 "
    [ -n "$r_session" ] && [ "$r_sid" = "$r_session" ] && r_ours=1
    r_more=1
}

# r_find: sets r_found to all living processes of the run, parents before their children: a shell that
# hears of its child's end before it gets its own signal would go on to its next command.
r_find() {
    r_found= r_pids=' ' r_ours=
    [ -n "$r_start" ] && r_lives "$r_root" "$r_start" && r_add "$r_root"
    for r_item in $r_known; do r_lives "${r_item%:*}" "${r_item#*:}" && r_add "${r_item%:*}"; done
    r_carriers
    for r_item in $r_list; do r_add "$r_item"; done
    r_more=$r_pids
    while [ "$r_more" != '' ] && [ "$r_pids" != ' ' ]; do
        r_more=
        for r_item in /proc/[0-9]*; do
            r_item=${r_item#/proc/}
            case $r_pids in *" $r_item "*) continue ;; esac
            r_stat "$r_item" || continue
            case $r_pids in *" $r_ppid "*) r_add "$r_item"; continue ;; esac
            # a session's number is not given away while a member lives; without one it proves nothing
            [ -n "$r_ours" ] && [ "$r_sid" = "$r_session" ] && r_add "$r_item"
        done
    done
    for r_item in $r_found; do
        case " $r_known " in *" $r_item "*) ;; *) r_known="$r_known $r_item" ;; esac
    done
    # by start, then by number
    r_list=$(printf '%s\n' $r_found | sort -t : -k 2n -k 1n 2>/dev/null)
    [ -z "$r_list" ] || r_found=$r_list
}

# r_send SIGNAL: to all that r_find found.
r_send() {
    for r_item in $r_found; do kill -s "$1" "${r_item%:*}" 2>/dev/null; done
}

# r_tell WORD PID NAME: says what needed KILL, or is there even so.
r_tell() {
    printf '%s%s %s %s\n' "$r_mark" "$1" "$2" "$3"
}

# r_pause: a tenth of a second where sleep can, else one; r_passed counts the tenths.
r_pause() {
    if sleep 0.1 2>/dev/null; then r_passed=$((r_passed + 1)); else sleep 1; r_passed=$((r_passed + 10)); fi
}

# r_end: TERM, up to r_grace seconds, KILL, and look again. Sets r_count (how many there were) and r_alive
# (1: r_root was one of them) and prints a line for each process that needed KILL, and for each that is
# there even so.
r_end() {
    r_known= r_killed= r_passed=0 r_count=0 r_alive=0
    if [ ! -r /proc/self/stat ]; then
        r_end_group
        return
    fi
    r_find
    case $r_pids in *" $r_root "*) r_alive=1 ;; esac
    [ "$r_only$r_alive" != alive0 ] || return 0
    for r_item in $r_found; do r_count=$((r_count + 1)); done
    [ "$r_count" -gt 0 ] || return 0
    r_send TERM
    while [ "$r_passed" -lt $((r_grace * 10)) ]; do
        for r_item in $r_found; do
            r_lives "${r_item%:*}" "${r_item#*:}" && break
            r_item=
        done
        if [ -z "$r_item" ]; then
            # all are gone; have they started others?
            r_find
            [ -n "$r_found" ] || return 0
            r_send TERM
        fi
        r_pause
    done
    r_passed=0
    r_find
    while [ -n "$r_found" ] && [ "$r_passed" -lt 50 ]; do
        for r_item in $r_found; do
            case " $r_killed " in *" $r_item "*) continue ;; esac
            r_killed="$r_killed $r_item"
            r_stat "${r_item%:*}" && r_tell killed "${r_item%:*}" "$r_name"
        done
        r_send KILL
        r_pause
        r_find
    done
    for r_item in $r_found; do
        r_stat "${r_item%:*}" && r_tell left "${r_item%:*}" "$r_name"
    done
}

# r_end_group: the same where there is no /proc: a process group is all there is to go by.
r_end_group() {
    [ -n "$r_root" ] && kill -s 0 -- "-$r_root" 2>/dev/null || return 0
    r_alive=1 r_count=1
    kill -s TERM -- "-$r_root"
    while kill -s 0 -- "-$r_root" 2>/dev/null && [ "$r_passed" -lt $((r_grace * 10)) ]; do r_pause; done
    if kill -s KILL -- "-$r_root" 2>/dev/null; then r_tell killed "$r_root" group; fi
}
