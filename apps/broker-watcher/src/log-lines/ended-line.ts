import type { Dialect } from './dialect.js';
import type { EndReason } from '@tallystick/persistence';
import { endReasonOf } from './end-reason.js';
import { type LogLine, logLine, type OpenClients } from './log-line.js';
import { between, peerOf } from './text-parts.js';

const CLIENT = 'Client ';
/** 2.0: the connection was refused. A client whose password was taken away gets another line. */
export const REFUSED = 'disconnected, not authorised';

/** Up to 2.0: how the line goes on behind the id, to its end. On `E` only the first, which is a takeover's only line; on `N` the rest. */
const ENDINGS: readonly (readonly [ending: string, reason: EndReason])[] = [
  [' already connected, closing old connection.', 'taken_over'],
  [' disconnected.', 'clean_disconnect'],
  [' closed its connection.', 'network'],
  [' has exceeded timeout, disconnecting.', 'keepalive_timeout'],
  [' disconnected due to protocol error.', 'protocol_error'],
  [' disconnected due to malformed packet.', 'malformed'],
  [' disconnected due to oversize packet.', 'oversize'],
  [' disconnected due to oversize payload.', 'oversize'],
  [' disconnected due to out of memory.', 'unknown'],
  [' disconnected due to QoS too high or retain not supported.', 'protocol_error'],
  [' disconnected due to using not allowed feature (QoS too high, retain not supported, or bad AUTH method).', 'protocol_error'],
  [` ${REFUSED}.`, 'not_authorised'],
  [' disconnected, no longer authorised.', 'not_authorised'],
  [' been disconnected by administrative action.', 'administrative'],
];

/** A line that ends a client's connection; undefined for another. `leaf` is the topic's last level. */
export function endedLine(leaf: string, text: string, dialect: Dialect, clients: OpenClients | undefined): LogLine | undefined {
  if (leaf !== 'N' && leaf !== 'E') return undefined;
  if (dialect === '2.1') return leaf === 'N' ? endedWithPeer(text, clients) : undefined;
  return fixedEnding(leaf, text) ?? (leaf === 'N' ? (socketError(text) ?? systemError(text)) : undefined);
}

/** The longest id: the ending is matched at the line's end, whatever like it stands before. */
function fixedEnding(leaf: string, text: string): LogLine | undefined {
  for (const [ending, endReason] of ENDINGS) {
    if ((leaf === 'E') !== (endReason === 'taken_over')) continue;
    const client = between(text, CLIENT, ending);
    if (client !== undefined) return ended(client, endReason, ending.slice(1, -1));
  }
  return undefined;
}

/** 1.6's word for every end that is not clean, and 2.0's for a broken socket. */
function socketError(text: string): LogLine | undefined {
  const client = between(text, 'Socket error on client ', ', disconnecting.');
  if (client !== undefined) return ended(client, 'network', 'socket error');
  const rest = between(text, 'Bad socket read/write on client ', '');
  const colon = rest?.lastIndexOf(': ') ?? -1;
  return rest !== undefined && colon > 0 ? ended(rest.slice(0, colon), 'network', rest.slice(colon + 2)) : undefined;
}

const MARK = ' disconnected: ';
const LONGEST_SYSTEM_TEXT = 100;

/** `Client ID disconnected: STRERROR.`: only a text that an operating system could have written, for an id may hold the mark too. */
function systemError(text: string): LogLine | undefined {
  const at = text.lastIndexOf(MARK);
  if (at <= CLIENT.length - 1 || !text.startsWith(CLIENT) || !text.endsWith('.')) return undefined;
  const words = text.slice(at + MARK.length, -1);
  if (words.length > LONGEST_SYSTEM_TEXT || !/^[A-Z][A-Za-z0-9 ,'()/.-]*$/.test(words)) return undefined;
  return ended(text.slice(CLIENT.length, at), endReasonOf(words), words);
}

function ended(client: string, endReason: EndReason, reason: string): LogLine {
  return logLine('disconnected', { client, reason, endReason });
}

const PEER_END = '] disconnected';

/**
 * 2.1: `Client ID [A:P] disconnected.` or `… disconnected: REASON.`, the last of its kind in the line. In place of the id of a
 * connection that never became a client stands its address; a client may be called like its address too, and then is open.
 */
function endedWithPeer(text: string, clients: OpenClients | undefined): LogLine | undefined {
  const peerEnd = text.lastIndexOf(PEER_END);
  const bracket = text.lastIndexOf(' [', peerEnd);
  if (peerEnd === -1 || bracket <= CLIENT.length - 1 || !text.startsWith(CLIENT)) return undefined;
  const reason = reasonBehind(text, peerEnd + PEER_END.length);
  if (reason === undefined) return undefined;
  const peer = peerOf(text.slice(bracket + 2, peerEnd));
  const name = text.slice(CLIENT.length, bracket);
  const neverAClient = name === peer.address && !clients?.isOpenAt(name, peer.address, peer.port);
  const endReason = reason === null ? 'clean_disconnect' : endReasonOf(reason);
  return logLine('disconnected', { client: neverAClient ? null : name, reason, endReason, ...peer });
}

/** The words between `disconnected: ` and the full stop; null for none; undefined when the line goes on in another way. */
function reasonBehind(text: string, at: number): string | null | undefined {
  if (text.startsWith(': bad socket read/write: ', at)) return text.slice(at + 2);
  if (!text.endsWith('.')) return undefined;
  if (at === text.length - 1) return null;
  return text.startsWith(': ', at) ? text.slice(at + 2, -1) : undefined;
}

/** Whether the line begins like one about a client, of which a cut line has lost the end. */
export function beginsLikeEnded(leaf: string, text: string): boolean {
  return (leaf === 'N' || leaf === 'E') && (text.startsWith(CLIENT) || text.startsWith('Socket error on client '));
}
