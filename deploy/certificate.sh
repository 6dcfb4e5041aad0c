#!/bin/sh
# Makes a certificate for a server, and a certificate authority that signs it.
#   sh certificate.sh FOLDER FILE OWNER NAME...
# FILE: what the files FOLDER/FILE.pem and FOLDER/FILE.key are called. OWNER: the user, or the
# number of the user, that runs the server. NAME: host names and addresses by which clients know
# the server. Clients need the file FOLDER/ca.pem.
# Run it again for other names, and each year: it keeps the certificate authority.
set -eu
if [ $# -lt 4 ]; then
    echo "usage: sh $0 FOLDER FILE OWNER NAME..." >&2
    exit 64
fi
folder=$1
file=$2
owner=$3
shift 3
umask 077
install -d -m 755 "$folder"

names=
for name in "$@"; do
    case $name in
    *[!A-Za-z0-9.:_-]* | '') echo "$0: $name is not a host name or an address" >&2 && exit 64 ;;
    *:* | *[0-9].*[0-9].*[0-9].*[0-9]) names=$names,IP:$name ;;
    *) names=$names,DNS:$name ;;
    esac
done

# Its output is shown only if it fails.
quietly() {
    output=$("$@" 2>&1) || {
        echo "$output" >&2
        exit 1
    }
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ ! -f "$folder/ca.pem" ]; then
    quietly openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 7300 \
        -subj "/CN=stt-mqtt $file authority" -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout "$folder/ca.key" -out "$scratch/ca.pem"
    install -m 644 "$scratch/ca.pem" "$folder/ca.pem"
fi
quietly openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" \
    -keyout "$scratch/server.key" -out "$scratch/server.csr"
# Servers of a cluster are clients of each other.
printf 'subjectAltName=%s\nauthorityKeyIdentifier=keyid\nextendedKeyUsage=serverAuth,clientAuth\n' \
    "${names#,}" >"$scratch/extensions"
quietly openssl x509 -req -in "$scratch/server.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" \
    -set_serial "0x$(openssl rand -hex 16)" -days 730 -extfile "$scratch/extensions" \
    -out "$scratch/server.pem"
install -m 644 -o "$owner" "$scratch/server.pem" "$folder/$file.pem"
install -m 600 -o "$owner" "$scratch/server.key" "$folder/$file.key"
