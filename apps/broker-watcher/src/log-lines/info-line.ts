import type { Dialect } from './dialect.js';
import { type BrokerRun, type LogLine, logLine, type OpenClients } from './log-line.js';
import { between, digitsEnd, type Peer, peerOf } from './text-parts.js';

/** Lines that name a client or a peer and neither open nor end a session. */
export function infoLine(leaf: string, text: string, dialect: Dialect, clients: OpenClients | undefined): LogLine | undefined {
  if (leaf === 'N') return noticeLine(text, dialect);
  if (leaf === 'I') return informationLine(text, dialect, clients);
  return leaf === 'W' ? warningLine(text) : undefined;
}

/** 2.1 has `negotiated` behind an id that may hold the end of any other line, so this is asked before those. */
export function negotiatedLine(text: string): LogLine | undefined {
  const at = text.lastIndexOf(' negotiated ');
  const words = at === -1 ? [] : text.slice(at + 1).split(' ', 5);
  const isOne = words.length === 4 && words[1]!.startsWith('TLS') && words[2] === 'cipher' && words[3] !== '';
  if (!isOne || !text.startsWith('Client ') || at <= 7) return undefined;
  return logLine('conn_info', { client: text.slice(7, at), reason: text.slice(at + 1) });
}

function noticeLine(text: string, dialect: Dialect): LogLine | undefined {
  const port = text.lastIndexOf(' on port ');
  if (text.startsWith('New connection from ') && port > 20) return aboutPeer(text.slice(20, port), dialect);
  for (const [prefix, suffix] of [
    ['Client connection from ', ' denied: max_connections exceeded.'],
    ['Client connection from ', ' denied access by tcpd.'],
    ['Client from ', ' appears to be using TLS to connect to a non-TLS listener.'],
  ] as const) {
    const peer = between(text, prefix, suffix);
    if (peer !== undefined) return aboutPeer(peer, dialect, suffix.slice(1, -1));
  }
  const failed = splitFirst(text, 'Client connection from ', ' failed: ');
  if (failed) return aboutPeer(failed.head, dialect, failed.tail);
  const rejected = splitFirst(text, 'Connection from ', ' rejected, ');
  if (rejected) return aboutPeer(rejected.head, dialect, rejected.tail);
  return noticeAboutClient(text, dialect);
}

function noticeAboutClient(text: string, dialect: Dialect): LogLine | undefined {
  const expired = between(text, 'Expiring client ', ' due to timeout.');
  if (expired !== undefined) return logLine('conn_info', { client: expired, reason: 'session expired', sessionExpired: true });
  const dropping = between(text, 'Outgoing messages are being dropped for client ', '.');
  if (dropping !== undefined) return logLine('conn_info', { client: dropping, reason: 'outgoing messages dropped' });
  const dangerous = between(text, 'ACL denying access to client with dangerous client id "', '"');
  if (dangerous !== undefined) return logLine('conn_info', { client: dangerous, reason: 'dangerous client id' });
  const again = between(text, 'Bad client ', ' sending multiple CONNECT messages.');
  if (again !== undefined) {
    const reason = 'multiple CONNECT messages';
    return dialect === '2.1' ? aboutPeer(again, dialect, reason) : logLine('conn_info', { client: again, reason });
  }
  return text.startsWith('Connecting bridge ') ? logLine('conn_info') : undefined;
}

const DISCONNECTING = ', disconnecting.';

function informationLine(text: string, dialect: Dialect, clients: OpenClients | undefined): LogLine | undefined {
  for (const reason of ['Empty subscription string', 'Invalid subscription string', 'Invalid QoS in subscription command']) {
    const peer = between(text, `${reason} from `, DISCONNECTING);
    if (peer !== undefined) return aboutPeer(peer, '1.6', reason);
  }
  for (const reason of ['Empty unsubscription string', 'Invalid unsubscription string', 'Invalid QoS in PUBLISH']) {
    const client = between(text, `${reason} from `, DISCONNECTING);
    if (client !== undefined) return logLine('conn_info', { client, reason });
  }
  // the protocol's name in it is the client's own word, so the last one counts
  const connect = text.lastIndexOf(' in CONNECT from ');
  if (text.startsWith('Invalid protocol ') && connect > 0 && text.endsWith('.')) {
    return aboutPeer(text.slice(connect + 17, -1), '1.6', text.slice(0, connect));
  }
  if (dialect === '2.1') return protocolError(text, clients);
  const tooLarge = between(text, 'Client ', DISCONNECTING);
  const size = tooLarge?.lastIndexOf(' sent too large packet ') ?? -1;
  return size > 0 ? logLine('conn_info', { client: tooLarge!.slice(0, size), reason: 'too large packet' }) : undefined;
}

/** `Protocol error from A:P: …` before there is a client, `Protocol error from ID: …` later. The text behind holds no `: `. */
function protocolError(text: string, clients: OpenClients | undefined): LogLine | undefined {
  const prefix = 'Protocol error from ';
  const first = text.indexOf(': ', prefix.length);
  if (!text.startsWith(prefix) || first === -1) return undefined;
  const peer = peerOf(text.slice(prefix.length, first));
  if (peer.port !== null && isAddress(peer.address) && !clients?.isOpen(text.slice(prefix.length, first))) {
    return logLine('conn_info', { ...peer, reason: text.slice(first + 2) });
  }
  const last = text.lastIndexOf(': ');
  return logLine('conn_info', { client: text.slice(prefix.length, last), reason: text.slice(last + 2) });
}

function warningLine(text: string): LogLine | undefined {
  const quota = text.lastIndexOf(' has exceeded its receive-maximum quota.');
  if (text.startsWith('Client ') && quota > 7) return logLine('conn_info', { client: text.slice(7, quota), reason: RECEIVE_MAXIMUM });
  const reused = between(text, 'Reused message ID ', ' detected. Clearing from database.');
  const end = reused === undefined ? 0 : digitsEnd(reused, 0, 5);
  if (reused?.startsWith(' from ', end) && end > 0)
    return logLine('conn_info', { client: reused.slice(end + 6), reason: 'reused message id' });
  return undefined;
}

/** 2.1 writes this once for every packet of a client that is too fast. */
export const RECEIVE_MAXIMUM = 'receive maximum exceeded';

/** The broker's own start and end. No client's words stand in these lines, nor before them on leaf `I`. */
export function brokerRunOf(leaf: string, text: string): BrokerRun | null {
  if (leaf !== 'I') return null;
  for (const phase of ['starting', 'running', 'terminating'] as const) {
    const version = between(text, 'mosquitto version ', ` ${phase}`);
    if (version !== undefined && !version.includes(' ')) return { phase, version };
  }
  return null;
}

export function isCheckpoint(leaf: string, text: string): boolean {
  return leaf === 'I' && between(text, 'Saving in-memory database to ', '.') !== undefined;
}

function aboutPeer(text: string, dialect: Dialect, reason: string | null = null): LogLine {
  const peer: Peer = dialect === '1.6' ? { address: text, port: null } : peerOf(text);
  return logLine('conn_info', { ...peer, reason });
}

function splitFirst(text: string, prefix: string, middle: string): { head: string; tail: string } | undefined {
  const at = text.startsWith(prefix) ? text.indexOf(middle, prefix.length) : -1;
  return at <= prefix.length ? undefined : { head: text.slice(prefix.length, at), tail: text.slice(at + middle.length) };
}

/** Digits, dots and colons of IPv4 and IPv6, or a path. */
function isAddress(text: string): boolean {
  return text.startsWith('/') || (text.length <= 45 && /^[0-9a-fA-F.:]+$/.test(text));
}
