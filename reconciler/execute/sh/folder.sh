# What is kept of a durable run: the folder r_run, and functions that read it.
#
#   command   the command's text (or, under its own name, the script's)
#   pid       one line, made before the command starts and only once: whoever makes it decides what becomes
#             of the start. PID START RPID RSTART BOOT UPTIME TIMEOUT GRACE CODES . , or: void
#             (the command's shell and ours, which waits for it; start: field 22 of /proc/PID/stat, RSTART: -)
#   out err   its output, byte for byte
#   exit      E<code><flag>E once the command has ended; overwritten in place, so a full disk is no obstacle
#   why       why somebody is ending it, written before the first signal; else blank
#   killed    what TERM did not end
r_run=$HOME/.local/state/reconciler/runs/$r_id

# r_load: sets r_pid r_start r_rpid r_rstart r_boot r_up r_spec from the file pid; fails if it is not whole.
r_load() {
    r_line=
    read -r r_line 2>/dev/null <"$r_run/pid"
    set -- $r_line
    r_pid=$1 r_start=$2 r_rpid=$3 r_rstart=$4 r_boot=$5 r_up=$6 r_spec="$7 $8 $9"
    [ $# = 10 ] && [ "${10}" = . ]
}

# r_waits: the shell that waits for the command is there. Its stdin is a file of this folder, which tells it from any other
# process of its number. Behind proc.sh, for runs that an earlier reconciler started: those have its start time.
r_waits() {
    if [ "$r_rstart" = - ]; then
        [ "/proc/$r_rpid/fd/0" -ef "$r_run/why" ]
    else
        r_lives "$r_rpid" "$r_rstart"
    fi
}

# r_ended: sets r_code and r_flag; fails if the command's end is not recorded.
r_ended() {
    r_line=
    read -r r_line 2>/dev/null <"$r_run/exit"
    case $r_line in
    E[0-9]*E)
        r_line=${r_line#E} r_line=${r_line%E} r_flag=-
        r_code=${r_line%f}
        [ "$r_code" = "$r_line" ] || r_flag=full
        ;;
    *) return 1 ;;
    esac
}

# r_noted: sets r_why.
r_noted() {
    r_why=
    read -r r_why 2>/dev/null <"$r_run/why"
    [ -n "$r_why" ]
}
