import type { Seen } from './seen-lines.js';

/** Something that keeps the history from being complete, and what mends it. */
export interface Advice {
  code: string;
  problem: string;
  /** Lines for mosquitto.conf, or for its ACL file when they begin with `topic`. */
  lines: string[];
}

export interface Observed extends Seen {
  /** How long the watcher has been subscribed, ms. */
  watchedMs: number;
  /** Any `$SYS` value came. */
  metrics: boolean;
  /** `publish/messages/dropped` rose while we watched. */
  dropping: boolean;
}

/** A watcher's own subscription is written to the log at once; what has not come after this long does not come. */
const PATIENCE_MS = 60_000;
/** Mosquitto's default autosave_interval is 30 minutes. */
const CHECKPOINT_PATIENCE_MS = 3_600_000;

/** What the operator of a broker should change, most important first. MOSQUITTO-FACTS section 6 has the whole recommended file. */
export function adviceFor(observed: Observed): Advice[] {
  const advice: Advice[] = [];
  const waited = observed.watchedMs >= PATIENCE_MS;
  if (waited && !observed.metrics) advice.push(NO_METRICS);
  if (waited && !observed.lines) advice.push(NO_LINES);
  else {
    if (waited && !observed.subscriptions) advice.push(NO_SUBSCRIPTIONS);
    if (waited && !observed.connections && observed.lines) advice.push(NO_CONNECTIONS);
    if (observed.time === 'other') advice.push(NO_EPOCH);
    if (observed.watchedMs >= CHECKPOINT_PATIENCE_MS && !observed.checkpoints) advice.push(NO_CHECKPOINTS);
  }
  if (observed.dropping) advice.push(DROPPING);
  return advice;
}

const NO_METRICS: Advice = {
  code: 'no_metrics',
  problem: 'the broker publishes no $SYS values to the watcher',
  lines: ['sys_interval 10', 'topic read $SYS/#'],
};
const NO_LINES: Advice = {
  code: 'no_log_lines',
  problem: 'no log line has come: the broker does not log to topics, or the watcher may not read them',
  lines: [
    'log_dest topic',
    'log_type error',
    'log_type warning',
    'log_type notice',
    'log_type information',
    'log_type subscribe',
    'log_type unsubscribe',
    'topic read $SYS/#',
  ],
};
const NO_SUBSCRIPTIONS: Advice = {
  code: 'no_subscribe_lines',
  problem: 'no subscription has been logged: they are not in the default set of log types',
  lines: ['log_type subscribe', 'log_type unsubscribe'],
};
const NO_CONNECTIONS: Advice = {
  code: 'no_connection_lines',
  problem: 'no connection has been logged',
  lines: ['connection_messages true', 'log_type notice', 'log_type error'],
};
const NO_EPOCH: Advice = {
  code: 'no_epoch_time',
  problem: 'log lines carry no epoch seconds, so the time of their receipt is taken: remove log_timestamp_format',
  lines: ['log_timestamp true'],
};
const NO_CHECKPOINTS: Advice = {
  code: 'no_persistence',
  problem: 'the broker has not saved its sessions for an hour: what is queued for the watcher is lost when the broker stops',
  lines: ['persistence true', 'autosave_interval 300'],
};
const DROPPING: Advice = {
  code: 'messages_dropped',
  problem: 'the broker drops messages because a queue is full',
  lines: ['max_queued_messages 10000'],
};
