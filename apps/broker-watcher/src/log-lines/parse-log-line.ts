import { beginsLikeConnected, connectedLine } from './connected-line.js';
import { isCut } from './cut-line.js';
import type { Dialect } from './dialect.js';
import { beginsLikeEnded, endedLine } from './ended-line.js';
import { brokerRunOf, infoLine, isCheckpoint, negotiatedLine } from './info-line.js';
import type { EventAction } from '@tallystick/persistence';
import { type LogLine, logLine, NO_CLIENT, type OpenClients } from './log-line.js';
import { subscriptionLine } from './subscription-line.js';
import { digitsEnd } from './text-parts.js';

export const LOG_TOPIC_PREFIX = '$SYS/broker/log/';

/**
 * Reads one message of `$SYS/broker/log/…`. Never throws; the time it takes grows with the length of the line and no faster. The
 * topic alone decides what kind of line it is, and only the first `digits: ` is the time: ids, user names and topics stand in
 * the text as their owners chose them. `clients` tells apart readings that the line itself leaves open; `hasTimes`: the broker begins
 * its lines with a time. Where it does not, an id that looks like one begins the line of a subscription.
 */
export function parseLogLine(
  topic: string,
  payload: Uint8Array | string,
  dialect: Dialect,
  clients?: OpenClients,
  hasTimes = true,
): LogLine {
  const payloadText = typeof payload === 'string' ? payload : Buffer.from(payload).toString();
  const sizeBytes = typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length;
  const leaf = topic.startsWith(LOG_TOPIC_PREFIX) ? topic.slice(LOG_TOPIC_PREFIX.length) : '';
  const { ts, text } = hasTimes || !beginsAsClientsChose(topic) ? withoutTime(payloadText) : { ts: null, text: payloadText };
  const prefixBytes = payloadText.length - text.length; // ASCII
  const line = isCut(leaf, text, sizeBytes, prefixBytes, dialect)
    ? logLine(actionOfBeginning(leaf, text), { truncated: true })
    : whole(leaf, text, dialect, clients);
  // An end is nobody's, as a rule; only a client of that name opens and subscribes.
  if (line.client === NO_CLIENT && dialect !== '2.1') Object.assign(line, { client: null, ambiguous: line.action !== 'disconnected' });
  line.ts = ts;
  return line;
}

/** Whether such lines begin, behind the time, with an id; all others begin with words of the broker's own. */
export function beginsAsClientsChose(topic: string): boolean {
  return topic.startsWith(`${LOG_TOPIC_PREFIX}M/`);
}

export function beginsWithTime(text: string): boolean {
  return withoutTime(text).text.length < text.length;
}

function whole(leaf: string, text: string, dialect: Dialect, clients: OpenClients | undefined): LogLine {
  if (leaf === 'M/subscribe') return subscriptionLine('subscribe', text, clients);
  if (leaf === 'M/unsubscribe') return subscriptionLine('unsubscribe', text, clients);
  const brokerRun = brokerRunOf(leaf, text);
  if (brokerRun) return logLine('unknown', { brokerRun });
  if (isCheckpoint(leaf, text)) return logLine('checkpoint');
  return (
    (leaf === 'N' ? connectedLine(text, dialect) : undefined) ??
    (leaf === 'N' && dialect === '2.1' ? negotiatedLine(text) : undefined) ??
    endedLine(leaf, text, dialect, clients) ??
    infoLine(leaf, text, dialect, clients) ??
    logLine('unknown')
  );
}

/** Of a cut line the kind may still be seen, but whose it is not. */
function actionOfBeginning(leaf: string, text: string): EventAction {
  if (leaf === 'M/subscribe') return 'subscribe';
  if (leaf === 'M/unsubscribe') return 'unsubscribe';
  if (leaf === 'N' && beginsLikeConnected(text)) return 'connected';
  return beginsLikeEnded(leaf, text) ? 'disconnected' : 'unknown';
}

const LONGEST_TIME_DIGITS = 12;
/** `2026-11-21T21:59:52: `: the usual log_timestamp_format. It names no zone, so it is taken off and not believed. */
const TEXT_TIME = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d: /;
const TEXT_TIME_LENGTH = 21;

function withoutTime(text: string): { ts: number | null; text: string } {
  const end = digitsEnd(text, 0, LONGEST_TIME_DIGITS);
  if (end > 0 && text.startsWith(': ', end)) return { ts: Number(text.slice(0, end)), text: text.slice(end + 2) };
  if (TEXT_TIME.test(text.slice(0, TEXT_TIME_LENGTH))) return { ts: null, text: text.slice(TEXT_TIME_LENGTH) };
  return { ts: null, text };
}
