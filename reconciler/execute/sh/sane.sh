# r_sane: what every command finds: a file it makes is for nobody else to write, whatever the account says (a narrower umask
# stays, as sudo has it), and characters are UTF-8 where nobody chose a locale (r_locale: the manifest did) and this host has
# one. Of C.UTF-8 only the characters differ from C; with LANG each program would load the rest, too, a third of its start.
r_sane() {
    umask go-w
    if [ -z "$LC_ALL$LC_CTYPE$LANG$r_locale" ]; then
        for r_try in /usr/lib/locale/C.utf8 /usr/lib/locale/C.UTF-8; do
            if [ -d "$r_try" ]; then export LC_CTYPE=C.UTF-8; fi
        done
    fi
}
