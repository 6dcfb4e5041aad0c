#!/bin/sh
# Installs what the broker reads: access rules, a certificate, and a file for passwords.
#   sh install.sh FOLDER OWNER NAME...
# OWNER: the user, or the number of the user, that runs Mosquitto. NAME: host names and addresses
# by which clients know this machine. Clients need the file FOLDER/ca.pem.
# Run it again after a change of the rules, for other names, and each year: it keeps the
# certificate authority and the passwords, and makes a new certificate for the broker.
set -eu
if [ $# -lt 3 ]; then
    echo "usage: sh $0 FOLDER OWNER NAME..." >&2
    exit 64
fi
folder=$1
owner=$2
shift 2
from=$(cd "$(dirname "$0")" && pwd)
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
        -subj "/CN=stt-mqtt broker authority" -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout "$folder/ca.key" -out "$scratch/ca.pem"
    install -m 644 "$scratch/ca.pem" "$folder/ca.pem"
fi
quietly openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" \
    -keyout "$scratch/broker.key" -out "$scratch/broker.csr"
printf 'subjectAltName=%s\nauthorityKeyIdentifier=keyid\nextendedKeyUsage=serverAuth\n' \
    "${names#,}" >"$scratch/extensions"
quietly openssl x509 -req -in "$scratch/broker.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" \
    -set_serial "0x$(openssl rand -hex 16)" -days 730 -extfile "$scratch/extensions" \
    -out "$scratch/broker.pem"
install -m 644 -o "$owner" "$scratch/broker.pem" "$folder/broker.pem"
install -m 600 -o "$owner" "$scratch/broker.key" "$folder/broker.key"
install -m 600 -o "$owner" "$from/acl" "$folder/acl"
if [ ! -f "$folder/passwords" ]; then
    install -m 600 -o "$owner" /dev/null "$folder/passwords"
fi
