# Starts a run whose life is tied to its connection. Sent to a fresh sh on its stdin as part of one { … } group:
# in front of it the assignments r_id r_mark r_dir r_grace r_tree r_parent r_name r_text and sane.sh, behind it the
# exports, the acknowledgement and the command.

# How we are told apart from a later process with our number: by the id in our own environment, where the
# login shell could put it there; else by field 22 of our line, the start. Field 4 is the session.
r_start= r_session=$$
if [ "$RECONCILER_EXECUTION_ID" != "$r_id" ] && read -r r_line 2>/dev/null </proc/$$/stat; then
    set -- ${r_line##*\) }
    r_start=${20} r_session=
    # sshd gives each command a session of its own; under sudo its leader is our parent
    case $4 in "$$" | "$r_parent") r_session=$4 ;; esac
    set --
fi

# A script becomes a file that only this account can read.
r_place=
if [ -n "$r_name" ]; then
    for r_try in "${TMPDIR:-/tmp}" /tmp /dev/shm /var/tmp "$HOME"; do
        # mkdir is what makes it ours: it fails where something of that name is there already
        if mkdir -m 700 "$r_try/reconciler-$r_id" 2>/dev/null; then
            r_place=$r_try/reconciler-$r_id
            printf '%s' "$r_text" 2>/dev/null >"$r_place/$r_name" && break
            rm -rf "$r_place"
            r_place=
        fi
    done
    if [ -z "$r_place" ]; then
        echo "there is no place for the script: ${TMPDIR:-/tmp}, /tmp, /dev/shm, /var/tmp and $HOME were tried" >&2
        printf '%srefused\n' "$r_mark"
        exit 1
    fi
fi

# The watcher ends the run when its connection is gone: our stdin stays open as long as the connection.
# It is nobody's child, so that `wait` in the command does not wait for it.
exec 3<&0 </dev/null
(
    (
        cd /
        while read -r r_line; do :; done <&3
        # Where the command itself is over, what it left in the background stays, as it would under cron.
        if kill -s 0 $$ 2>/dev/null; then
            unset RECONCILER_EXECUTION_ID
            eval "$r_tree"
            r_root=$$ r_only=alive r_not=
            [ ! -r /proc/self/stat ] || read -r r_not r_line </proc/self/stat
            r_end
        fi
        if [ -n "$r_place" ]; then rm -rf "$r_place"; fi
    ) >/dev/null 2>&1 &
)
exec 3<&-

r_sane
unset CDPATH
if [ -n "$r_dir" ]; then
    cd "$r_dir" || {
        printf '%srefused\n' "$r_mark"
        exit 1
    }
else
    cd 2>/dev/null || cd /
fi
