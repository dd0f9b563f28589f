# Says what a host offers to runs, a line for each thing as it is known. In front of it: r_mark r_tools r_durable.
r_say() { printf '%s%s\n' "$r_mark" "$*"; }

r_sh=$(readlink -f /bin/sh 2>/dev/null)
r_say shell "${r_sh:-/bin/sh}" "${SHELL:-?}" "$(id -un 2>/dev/null)"

r_missing=
for r_tool in $r_tools; do
    command -v "$r_tool" >/dev/null 2>&1 || r_missing="$r_missing $r_tool"
done
[ -z "$r_durable" ] || [ -r /proc/self/stat ] || r_missing="$r_missing /proc"
r_say tools "$r_missing"

r_now=$(date +%s.%N 2>/dev/null)
case $r_now in *[!0-9.]* | '' | *.) r_now=$(date +%s 2>/dev/null) ;; esac
r_say clock "$r_now"

r_place=$HOME/.local/state/reconciler
if [ -n "$r_durable" ]; then
    if r_text=$( (umask 077 && mkdir -p "$r_place/runs" && mkdir "$r_place/runs/doctor.$$" &&
        echo 1 >"$r_place/runs/doctor.$$/file" && rm -r "$r_place/runs/doctor.$$") 2>&1); then
        r_say place written "$r_place"
    else
        rm -rf "$r_place/runs/doctor.$$" 2>/dev/null
        r_say place refused "$r_place" "$(printf '%s' "$r_text" | tr '\n' ' ')"
    fi
    # last, for a file system that hangs shall take nothing with it
    r_say disk "$(df -Pk "$r_place" 2>/dev/null | tail -n 1)"
fi
r_say end
