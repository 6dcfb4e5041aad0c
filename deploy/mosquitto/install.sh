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
from=$(cd "$(dirname "$0")" && pwd)
shift 2
sh "$from/../certificate.sh" "$folder" broker "$owner" "$@"
install -m 600 -o "$owner" "$from/acl" "$folder/acl"
if [ ! -f "$folder/passwords" ]; then
    install -m 600 -o "$owner" /dev/null "$folder/passwords"
fi
