#!/bin/sh
# Makes the passwords that docker-compose.yml hands to its services, one file each, in ./secrets or the folder of the argument. A file that
# is there is never touched, so it may run again at any time. Needs a POSIX shell and nothing else.
set -eu
umask 077
secrets=${1:-$(dirname "$0")/../secrets}
mkdir -p "$secrets"
# The folder keeps other users of this machine out. The files themselves are readable: compose mounts each as it is, with its owner
# and mode, into containers whose users have other numbers than ours.
chmod 0700 "$secrets"
for name in postgres_password database_ingest_bridge database_broker_watcher database_api \
  mqtt_ingest_bridge mqtt_broker_watcher mqtt_simulator grafana_password; do
  file=$secrets/$name
  if [ -e "$file" ]; then
    echo "kept  $file"
    continue
  fi
  # 192 random bits. Complete before it has its name, so that a run cut short leaves no half of a password.
  rm -f "$file.new"
  od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$file.new"
  [ "$(wc -c <"$file.new")" -eq 48 ]
  chmod 0444 "$file.new"
  mv "$file.new" "$file"
  echo "made  $file"
done
