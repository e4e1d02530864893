export interface MosquittoConf {
  port: number;
  /** where the persistence file goes */
  dir: string;
  /** further lines, e.g. `autosave_interval 1`; of a repeated numeric setting Mosquitto takes the last */
  configLines?: string[];
}

/** The configuration of the embedded Mosquitto 1.6 to 2.1: the broker settings that docs ask of any broker, for one machine. */
export function mosquittoConf({ port, dir, configLines = [] }: MosquittoConf): string {
  const folder = dir.endsWith('/') ? dir : `${dir}/`;
  return `# Written anew at every start: changes here are lost.
listener ${port} 127.0.0.1
allow_anonymous true
set_tcp_nodelay true

# Sessions, queued and retained messages survive a stop; a killed broker loses what came after the last save.
# By time and not autosave_on_changes: the whole file is written at every save, and a queue that fills changes all the time.
persistence true
persistence_location ${folder}
autosave_interval 10

# Beyond max_queued_messages a broker drops without a word; 1000 is the default.
max_queued_messages 1000000
# The window of MQTT 3.1.1 clients (5.0 clients name their own); the default of 20 would wait for an acknowledgement all the time.
max_inflight_messages 1000
# An abandoned session of an MQTT 3.1.1 client does not fill the memory for ever.
persistent_client_expiration 1m

# What the broker watcher reads. Never \`log_type all\` with a second destination: a debug line for every packet.
sys_interval 5
connection_messages true
log_timestamp true
log_dest topic
log_dest stderr
log_type error
log_type warning
log_type notice
log_type information
log_type subscribe
log_type unsubscribe
${configLines.map((line) => `${line}\n`).join('')}`;
}
