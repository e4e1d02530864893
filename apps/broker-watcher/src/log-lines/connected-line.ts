import type { Dialect } from './dialect.js';
import { type ConnectDetails, type LogLine, logLine } from './log-line.js';
import { digitsEnd, peerOf } from './text-parts.js';

const PREFIXES = ['New client connected from ', 'New bridge connected from '];
const AS = ' as ';

/**
 * `New client connected from A as ID (pN, cN, kN).` or `…, kN, u'USER').`; undefined for another line. The address holds no
 * ` as `, so the first one ends it; the details are the last that stand in the line, so an id may hold anything.
 */
export function connectedLine(text: string, dialect: Dialect): LogLine | undefined {
  const prefix = PREFIXES.find((candidate) => text.startsWith(candidate));
  if (prefix === undefined) return undefined;
  const as = text.indexOf(AS, prefix.length);
  const tail = detailsAtEnd(text);
  if (as === -1 || !tail || tail.at <= as + AS.length) return undefined;
  const from = text.slice(prefix.length, as);
  // 1.6 prints no port, and an IPv6 address would seem to have one
  const peer = dialect === '1.6' ? { address: from, port: null } : peerOf(from);
  const { at, username, ambiguous, connect } = tail;
  return logLine('connected', { client: text.slice(as + AS.length, at), username, ambiguous, connect, ...peer });
}

/** Whether the line begins like one of an accepted connection: of a cut line that is all there is. */
export function beginsLikeConnected(text: string): boolean {
  return PREFIXES.some((prefix) => text.startsWith(prefix));
}

interface Details {
  /** Where the details begin, and so where the id ends. */
  at: number;
  username: string | null;
  connect: ConnectDetails;
  /** The user name, or the id, holds what looks like details; the last is taken, which is right unless clients choose user names. */
  ambiguous: boolean;
}

const OPENING = ' (p';
const USER = ", u'";

/** Without a user name the line ends in a digit before `).`, with one in a quote: the two never fit the same line. */
function detailsAtEnd(text: string): Details | undefined {
  if (text.endsWith("').")) return detailsWithUser(text);
  const at = text.lastIndexOf(OPENING);
  const head = at === -1 ? undefined : headAt(text, at);
  if (!head || text.length !== head.end + 2 || !text.endsWith(').')) return undefined;
  return { at, username: null, connect: head.connect, ambiguous: false };
}

function detailsWithUser(text: string): Details | undefined {
  const found: { at: number; head: Head }[] = [];
  for (let at = text.lastIndexOf(OPENING); at > 0 && found.length < 2; at = text.lastIndexOf(OPENING, at - 1)) {
    const head = headAt(text, at);
    if (head && text.startsWith(USER, head.end) && head.end + USER.length <= text.length - 3) found.push({ at, head });
  }
  const [last, earlier] = found;
  if (!last) return undefined;
  const username = text.slice(last.head.end + USER.length, text.length - 3);
  return { at: last.at, username, connect: last.head.connect, ambiguous: earlier !== undefined };
}

/**
 * Whether what was read as an id may be this shorter id and the beginning of its user name. Clients that choose both can make a
 * line that fits both readings; the longer is taken, for the shorter may be somebody else's.
 */
export function mayBeIdAndUser(read: string, shorter: string): boolean {
  return read.startsWith(shorter) && userBeginsAt(read, shorter.length);
}

/** Whether an id as read holds what could be the end of a shorter one. */
export function mayHoldUser(read: string): boolean {
  for (let at = read.indexOf(OPENING); at !== -1; at = read.indexOf(OPENING, at + 1)) if (userBeginsAt(read, at)) return true;
  return false;
}

function userBeginsAt(text: string, at: number): boolean {
  const head = text.startsWith(OPENING, at) ? headAt(text, at) : undefined;
  return head !== undefined && text.startsWith(USER, head.end);
}

interface Head {
  connect: ConnectDetails;
  end: number;
}

/** ` (pN, cN, kN` at a position. 1.6 and 2.0 number the protocols 1, 2, 5; 2.1 as MQTT does: 3, 4, 5. */
function headAt(text: string, at: number): Head | undefined {
  const protocolEnd = digitsEnd(text, at + OPENING.length, 3);
  if (protocolEnd === at + OPENING.length || !text.startsWith(', c', protocolEnd)) return undefined;
  const clean = text[protocolEnd + 3];
  if ((clean !== '0' && clean !== '1') || !text.startsWith(', k', protocolEnd + 4)) return undefined;
  const end = digitsEnd(text, protocolEnd + 7, 5);
  if (end === protocolEnd + 7) return undefined;
  const number = Number(text.slice(at + OPENING.length, protocolEnd));
  const protocolVersion = number === 1 ? 3 : number === 2 ? 4 : number;
  return { end, connect: { protocolVersion, cleanStart: clean === '1', keepaliveS: Number(text.slice(protocolEnd + 7, end)) } };
}
