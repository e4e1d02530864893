/** The part of `$SYS` that holds the broker's values. */
export const SYS_PREFIX = '$SYS/broker/';

/**
 * One `$SYS/broker/…` message: a number; a text, such as `version`; or neither (`invalid`): NaN, an infinity, a count that wrapped
 * around below zero, bytes that are no text, a name that is too long. `metric` is the topic behind `$SYS/broker/`.
 */
export type SysValue =
  { kind: 'number'; metric: string; value: number } | { kind: 'text'; metric: string; text: string } | { kind: 'invalid'; metric: string };

const LONGEST_VALUE_BYTES = 200;
/**
 * What an index of PostgreSQL holds whatever its content. Without an ACL every client may name a metric: Mosquitto lets all publish
 * to `$SYS/broker/connection/+/state`.
 */
const LONGEST_METRIC_BYTES = 1_200;
/** Decimal, as printf writes it; no pattern that could backtrack over a long run of digits. */
const NUMBER = /^-?\d{1,40}(\.\d{1,40})?(e[+-]?\d{1,4})?$/i;
const NOT_FINITE = /^[+-]?(nan|inf(inity)?)$/i;
/** Ids minus sockets: 2.1 prints it unsigned, so below zero it is near 2^32. */
const MAY_WRAP = ['clients/disconnected', 'clients/inactive'];
const WRAPPED_FROM = 2 ** 31;
/** Of numbers beyond these, or nearer to 0, sums and averages could not be stored; no broker counts so far. */
const LARGEST = 1e30;
const SMALLEST = 1e-30;
const UPTIME = /^(\d{1,15}) seconds$/;

/** Reads a message below `$SYS/broker/`. Never throws. */
export function sysValue(topic: string, payload: Uint8Array): SysValue {
  const metric = topic.slice(SYS_PREFIX.length);
  if (payload.length > LONGEST_VALUE_BYTES) return { kind: 'invalid', metric };
  // One value that cannot be stored would keep all others from being stored.
  if (Buffer.byteLength(metric) > LONGEST_METRIC_BYTES || metric.includes('\0')) return { kind: 'invalid', metric };
  const text = Buffer.from(payload).toString();
  if (text.includes('\ufffd') || text.includes('\0')) return { kind: 'invalid', metric };
  const uptime = metric === 'uptime' ? UPTIME.exec(text) : null;
  if (uptime) return { kind: 'number', metric, value: Number(uptime[1]) };
  if (NOT_FINITE.test(text) || text === '') return { kind: 'invalid', metric };
  if (!NUMBER.test(text)) return { kind: 'text', metric, text };
  const value = Number(text);
  if (Math.abs(value) > LARGEST || (value !== 0 && Math.abs(value) < SMALLEST)) return { kind: 'invalid', metric };
  if (MAY_WRAP.includes(metric) && value >= WRAPPED_FROM) return { kind: 'invalid', metric };
  return { kind: 'number', metric, value };
}
