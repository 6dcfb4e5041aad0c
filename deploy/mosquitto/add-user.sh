#!/bin/sh
# Makes a user of the broker with a random password, and prints the password.
#   sh add-user.sh NAME [PASSWORD_FILE]
# The name of a satellite is its device name. If the user exists, it gets a new password.
# Afterwards Mosquitto has to read the file again, or to be restarted.
set -eu
name=${1-}
file=${2-/mosquitto/broker/passwords}
case $name in
'' | *[!A-Za-z0-9_.-]*)
    # With / + or # in the name, a user could read or write topics of others.
    echo "$0: a name has 1 to 64 of A-Z a-z 0-9 _ . -" >&2
    exit 64
    ;;
bridge | stt-mqtt-doctor)
    echo "$0: $name is a name of the service" >&2
    exit 64
    ;;
esac
if [ ${#name} -gt 64 ]; then
    echo "$0: a name has at most 64 characters" >&2
    exit 64
fi
if [ ! -f "$file" ]; then
    echo "$0: $file is not there; run install.sh first" >&2
    exit 66
fi
umask 077
password=$(head -c 24 /dev/urandom | base64 | tr '+/' 'ab')
new=$(mktemp)
trap 'rm -f "$new"' EXIT
printf '%s:%s\n' "$name" "$password" >"$new"
# It replaces the password by its hash. As an argument, every user of the machine could see it.
mosquitto_passwd -U "$new"
# awk compares the whole name, whatever characters it has.
awk -F: -v name="$name" '$1 != name' "$file" >>"$new"
# Not `mv`: the file keeps its owner.
cat "$new" >"$file"
echo "$password"
