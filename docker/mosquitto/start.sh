#!/bin/sh
# Starts Mosquitto under docker-compose.yml, after making its password file of the services' secrets and of the operator's own `passwd`.
# Devices are in that file only when a bridge has subscribed, as docs/adr/0034-devices-wait-for-a-bridge.md tells.
# `start.sh reload`, in the running container: makes it again, and the broker reads it and `acl` without ending a connection.
set -eu
umask 077
config=/mosquitto/config
secrets=/run/secrets
run=/run/mosquitto
# How often it is said that devices still wait.
patience_s=60

case ${AWAIT_BRIDGE:=true} in
true | false) ;;
*)
  echo "AWAIT_BRIDGE must be true or false" >&2
  exit 78
  ;;
esac

# Passwords go from file to file by the shell's own printf, never through an argument list, which every process could read.
add_user() {
  case $2 in
  '' | *[!A-Za-z0-9_-]*)
    echo "the password of the broker's user $1 must consist of letters, digits, - and _; sh docker/make-secrets.sh makes such" >&2
    exit 78
    ;;
  esac
  printf '%s:%s\n' "$1" "$2" >>"$run/users.new"
}

# A user that nobody else needs the password of, so that each start makes a new one. mosquitto_sub reads it below XDG_CONFIG_HOME.
add_own_user() {
  password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
  add_user "$1" "$password"
  mkdir -p "$2"
  printf -- '-h 127.0.0.1\n-u %s\n-P %s\n' "$1" "$password" >"$2/mosquitto_sub"
}

# Of all users those whom grep finds with these arguments may connect. The broker ends connections of others when it reads the file.
let_in() {
  grep -E "$@" "$run/users" >"$run/passwd.$$" || [ $? -eq 1 ]
  mv "$run/passwd.$$" "$run/passwd"
}
let_all_in() {
  let_in -v '^gate:'
}

# A line for each subscription, and one for how many shared ones there are: at once, and when it changes, up to sys_interval late.
listen() {
  XDG_CONFIG_HOME="$run/gate" mosquitto_sub -p 1884 -i gate -v -W "$patience_s" \
    -t '$SYS/broker/log/M/subscribe' -t '$SYS/broker/shared_subscriptions/count' 2>/dev/null
}

# Lets the devices in when a bridge has subscribed. Runs beside the broker, whose process has the number of this shell. What it says is
# not for stdout, where Mosquitto 2.0 writes by the block and would cut it in two. It sends SIGHUP once and no more: a second one may
# crash a Mosquitto of before August 2025 that has saved sessions of clients that are away.
keep_gate() {
  echo 'Devices are let in only when a bridge has subscribed.' >&2
  said_s=$(date +%s)
  while [ ! -e "$run/open" ] && kill -0 $$; do
    listen | while read -r topic line; do
      case "$topic $line" in
      # The count is for a line that came before we listened.
      '$SYS/broker/log/M/subscribe '*' '[12]' $share/'* | '$SYS/broker/shared_subscriptions/count '[1-9]*)
        # Before the file is made, so that a reload meanwhile makes it too.
        : >"$run/open"
        let_all_in
        kill -HUP $$
        echo 'A bridge has subscribed: devices are let in now.' >&2
        break
        ;;
      esac
    done
    [ ! -e "$run/open" ] || break
    # Not connected yet, or ended by its patience, or killed.
    now_s=$(date +%s)
    if [ $((now_s - said_s)) -ge "$patience_s" ]; then
      echo 'Devices still wait: no bridge has subscribed yet, or acl lacks the lines of gate.' >&2
      said_s=$now_s
    fi
    sleep 0.02
  done
}

: >"$run/users.new"
add_user ingest-bridge "$(cat "$secrets/mqtt_ingest_bridge")"
add_user tallystick-watcher "$(cat "$secrets/mqtt_broker_watcher")"
add_user simulator "$(cat "$secrets/mqtt_simulator")"
if [ "${1:-}" != reload ]; then
  add_own_user healthcheck "$run"
  add_own_user gate "$run/gate"
fi
mosquitto_passwd -U "$run/users.new"
if [ "${1:-}" = reload ]; then
  grep -E '^(healthcheck|gate):' "$run/users" >>"$run/users.new"
fi
# Devices. A line that names a service's user would be a second password for it.
if [ -e "$config/passwd" ]; then
  grep -Ev '^(ingest-bridge|tallystick-watcher|simulator|healthcheck|gate):' "$config/passwd" >>"$run/users.new" || [ $? -eq 1 ]
fi
mv "$run/users.new" "$run/users"
# Mosquitto wants this file to be its own, too.
cp "$config/acl" "$run/acl"

if [ "${1:-}" = reload ]; then
  if [ -e "$run/open" ]; then
    let_all_in
    kill -HUP 1
  else
    echo 'Devices still wait for a bridge to subscribe; what was changed counts from then on.'
  fi
  exit
fi

if [ "$AWAIT_BRIDGE" = true ]; then
  rm -f "$run/open"
  let_in '^(ingest-bridge|tallystick-watcher|healthcheck|gate):'
  keep_gate &
else
  : >"$run/open"
  let_all_in
fi
exec mosquitto -c "$config/mosquitto.conf"
