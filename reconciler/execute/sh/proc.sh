# Functions that look at one process. POSIX sh and /proc.

# r_stat PID: sets r_state r_ppid r_sid r_begin r_name; fails if there is no such process.
r_stat() {
    r_line= r_text=
    while IFS= read -r r_part; do r_text=$r_text$r_part' ' r_line=$r_part; done 2>/dev/null <"/proc/$1/stat" || return 1
    r_name=${r_text#*\(}
    r_name=${r_name%\)*}
    # a name may hold spaces, parentheses and line ends; what follows the last parenthesis are numbers
    set -- ${r_line##*\) }
    r_state=$1 r_ppid=$2 r_sid=$4 r_begin=${20}
    [ -n "$r_begin" ]
}

# r_lives PID BEGIN: that very process is there, and not just waiting for its parent to notice its end.
r_lives() {
    r_stat "$1" && [ "$r_begin" = "$2" ] && [ "$r_state" != Z ] && [ "$r_state" != X ]
}
