#!/bin/sh
# Starts Mosquitto under docker-compose.yml, after making its password file of the services' secrets and of the operator's own `passwd`.
# `start.sh reload`, in the running container: makes it again, and the broker reads it and `acl` without ending a connection.
set -eu
umask 077
config=/mosquitto/config
secrets=/run/secrets
run=/run/mosquitto

# Passwords go from file to file by the shell's own printf, never through an argument list, which every process could read.
add_user() {
  case $2 in
  '' | *[!A-Za-z0-9_-]*)
    echo "the password of the broker's user $1 must consist of letters, digits, - and _; sh docker/make-secrets.sh makes such" >&2
    exit 78
    ;;
  esac
  printf '%s:%s\n' "$1" "$2" >>"$run/passwd.new"
}

: >"$run/passwd.new"
add_user ingest-bridge "$(cat "$secrets/mqtt_ingest_bridge")"
add_user tallystick-watcher "$(cat "$secrets/mqtt_broker_watcher")"
add_user simulator "$(cat "$secrets/mqtt_simulator")"
# The container's health check: nobody else needs its password, so each start makes a new one.
check=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
add_user healthcheck "$check"
printf -- '-h 127.0.0.1\n-u healthcheck\n-P %s\n' "$check" >"$run/mosquitto_sub"
mosquitto_passwd -U "$run/passwd.new"
# Devices. A line that names a service's user would be a second password for it.
if [ -e "$config/passwd" ]; then
  grep -Ev '^(ingest-bridge|tallystick-watcher|simulator|healthcheck):' "$config/passwd" >>"$run/passwd.new" || [ $? -eq 1 ]
fi
mv "$run/passwd.new" "$run/passwd"
# Mosquitto wants this file to be its own, too.
cp "$config/acl" "$run/acl"

if [ "${1:-}" = reload ]; then
  kill -HUP 1
else
  exec mosquitto -c "$config/mosquitto.conf"
fi
