#!/usr/bin/env bash
# Makes the certificates of this folder anew: an authority, one key, and a certificate for each way to be wrong.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

key "$work/authority.key"
key server.key
openssl req -x509 -key "$work/authority.key" -subj "/CN=test authority" -days 36500 -out authority.pem \
  -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign"

# NAME SUBJECT-ALTERNATIVE-NAME START END
issue() {
  touch "$work/index"
  rm -f "$work/index"* && touch "$work/index"
  printf '%s\n' '[ca]' 'default_ca=d' '[d]' "database=$work/index" "new_certs_dir=$work" "rand_serial=yes" \
    'default_md=sha256' 'policy=p' 'x509_extensions=e' '[p]' 'commonName=supplied' \
    '[e]' "subjectAltName=$2" 'extendedKeyUsage=serverAuth' >"$work/config"
  openssl req -new -key server.key -subj "/CN=$1" -out "$work/request"
  openssl ca -batch -notext -config "$work/config" -in "$work/request" -cert authority.pem -keyfile "$work/authority.key" \
    -startdate "$3" -enddate "$4" -out "$1.pem"
}
issue good IP:127.0.0.1 20240101000000Z 21240101000000Z
issue expired IP:127.0.0.1 20200101000000Z 20210101000000Z
issue early IP:127.0.0.1 21200101000000Z 21240101000000Z
issue other_host DNS:other.example 20240101000000Z 21240101000000Z
openssl req -x509 -key server.key -subj "/CN=self signed" -days 36500 -out self_signed.pem \
  -addext "subjectAltName=IP:127.0.0.1"
