#!/bin/sh
# Starts Mosquitto under docker-compose.yml, after making its password file of the services' secrets and of the operator's own `passwd`.
# Devices are in that file only when a bridge has subscribed, as docs/adr/0034-devices-wait-for-a-bridge.md tells.
# `start.sh reload`, in the running container: makes it again, and the broker reads it and `acl` without ending a connection.
set -eu
umask 077
config=/mosquitto/config
secrets=/run/secrets
run=/run/mosquitto
# How often it is said that devices still wait, and how long a missed subscription may keep them waiting.
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
watching='^(tallystick-watcher|healthcheck|gate):'
services='^(tallystick-watcher|healthcheck|gate|ingest-bridge):'
let_all_in() {
  let_in -v '^gate:'
}

# A line for each subscription, from its own on.
listen() {
  XDG_CONFIG_HOME="$run/gate" mosquitto_sub -p 1884 -i gate -t '$SYS/broker/log/M/subscribe' -W "$patience_s" 2>/dev/null
}

# Lets the bridges in when it sees every subscription, and the devices when it has seen a bridge's. Runs beside the broker, whose process
# has the number of this shell. What it says is not for stdout, where Mosquitto 2.0 writes by the block and would cut it in two.
keep_gate() {
  echo 'Devices are let in only when a bridge has subscribed.' >&2
  said_s=$(date +%s)
  while [ ! -e "$run/open" ] && kill -0 $$; do
    listen | while read -r line; do
      case $line in
      *': gate 0 $SYS/broker/log/M/subscribe')
        let_in "$services"
        kill -HUP $$
        ;;
      *' '[12]' $share/'*)
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
    # Not connected yet, or ended by its patience, or killed. What it may have missed must come again, so a bridge that is there begins anew.
    reason='no bridge has subscribed yet.'
    if grep -q '^ingest-bridge:' "$run/passwd"; then
      let_in "$watching"
      kill -HUP $$
    else
      reason="the broker's log is not heard. acl must have the lines of gate, mosquitto.conf log_dest topic and log_type subscribe."
    fi
    now_s=$(date +%s)
    if [ $((now_s - said_s)) -ge "$patience_s" ]; then
      echo "Devices still wait: $reason" >&2
      said_s=$now_s
    fi
    sleep 0.1
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
  else
    echo 'Devices still wait for a bridge to subscribe; what is in passwd counts from then on.'
  fi
  kill -HUP 1
  exit
fi

if [ "$AWAIT_BRIDGE" = true ]; then
  rm -f "$run/open"
  let_in "$watching"
  keep_gate &
else
  : >"$run/open"
  let_all_in
fi
exec mosquitto -c "$config/mosquitto.conf"
