)
r_code=$? r_flag=- r_line=' .'
# what ended well has begun
[ "$r_code" = 0 ] || read -r r_line <"$r_run/pid" || r_line=
case $r_line in
*' .') ;;
void)
    # somebody gave up waiting for this start, and made sure that it never happens
    kill "$r_viewer"
    printf '%svoid\n' "$r_mark" >&3
    exit 1
    ;;
*)
    # it said itself why
    kill "$r_viewer"
    r_undone ''
    ;;
esac
r_word=E${r_code}E
if [ "$r_code" != 0 ] && ! printf '%8192s' '' >"$r_run/probe"; then r_flag=full r_word=E${r_code}fE; fi
# one write of a few bytes into a block that is there already
printf '%-14s\n' "$r_word" 1<>"$r_run/exit"
kill "$r_viewer"
r_both=both
wait "$r_viewer"
case $? in
7) ;;
8)
    # what did not get through will be asked for again
    exit 1
    ;;
*)
    [ ! -s "$r_run/out" ] || LC_ALL=C cat "$r_run/out" >&3 || exit 1
    if [ -s "$r_run/err" ]; then
        printf '%s\n' "$r_mark" >&4
        LC_ALL=C cat "$r_run/err" >&4 || exit 1
    else
        # nothing was printed there: two packets that need not be sent
        r_both=out
    fi
    ;;
esac
r_why=
read -r r_why <"$r_run/why"
if [ -n "$r_why" ]; then
    while read -r r_line; do printf '%skilled %s\n' "$r_mark" "$r_line" >&3; done <"$r_run/killed"
fi
[ "$r_both" = out ] || printf '%send\n' "$r_mark" >&4
printf '%sended %s %s %s 0 %s\n' "$r_mark" "$r_both" "$r_code" "$r_flag" "$r_why" >&3
