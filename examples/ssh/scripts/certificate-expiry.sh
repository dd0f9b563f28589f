# Says how long a certificate is still good; fails when it is less than a week.
set -eu
mkdir -p "$WORK"
cd "$WORK"
if [ ! -f site.pem ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
        -subj "/CN=site.example" -keyout site.key -out site.pem 2>/dev/null
fi
openssl x509 -in site.pem -noout -subject -enddate
openssl x509 -in site.pem -noout -checkend 604800
