# r_sane: what every command finds: a file it makes is for nobody else to write, whatever the account says (a narrower umask
# stays, as sudo has it), and characters are UTF-8 where nobody chose a locale and this host has one.
r_sane() {
    umask go-w
    if [ -z "$LC_ALL$LC_CTYPE$LANG" ]; then
        for r_try in /usr/lib/locale/C.utf8 /usr/lib/locale/C.UTF-8; do
            if [ -d "$r_try" ]; then export LANG=C.UTF-8; fi
        done
    fi
}
