import type { Dialect } from './dialect.js';
import { type ConnectDetails, type LogLine, logLine } from './log-line.js';
import { digitsEnd, isDigits, peerOf } from './text-parts.js';

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
  const { at, username, connect } = tail;
  const client = text.slice(as + AS.length, at);
  const ambiguous = otherIds(client, username !== null, 0).length > 0;
  return logLine('connected', { client, username, ambiguous, connect, ...peer });
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
}

const OPENING = ' (p';
const USER = ", u'";

/** Without a user name the line ends in a digit before `).`, with one in a quote: the two never fit the same line. */
function detailsAtEnd(text: string): Details | undefined {
  if (text.endsWith("').")) return detailsWithUser(text);
  const at = text.lastIndexOf(OPENING);
  const head = at === -1 ? undefined : headAt(text, at);
  if (!head || text.length !== head.end + 2 || !text.endsWith(').')) return undefined;
  return { at, username: null, connect: head.connect };
}

/** The user name, or the id, may hold what looks like details; the last is taken, which is right unless clients choose user names. */
function detailsWithUser(text: string): Details | undefined {
  for (let at = text.lastIndexOf(OPENING); at > 0; at = text.lastIndexOf(OPENING, at - 1)) {
    const head = headAt(text, at);
    if (!head || !text.startsWith(USER, head.end) || head.end + USER.length > text.length - 3) continue;
    return { at, username: text.slice(head.end + USER.length, text.length - 3), connect: head.connect };
  }
  return undefined;
}

/**
 * The ids, at most one more than `most`, that the client may have instead of the one that was read: a user name made to look like
 * more id and details gives a shorter one, and so does an address that holds ` as `, which a WebSocket client may choose
 * (X-Forwarded-For, Mosquitto 2.0.12 and later). The longest is taken, for a shorter one may be
 * somebody else's: who chooses so disguises itself, and harms at most those whose own ids look like this.
 */
export function otherIds(read: string, hasUser: boolean, most: number): string[] {
  const { begins, ends } = boundsOf(read, hasUser);
  const others: string[] = [];
  for (const begin of begins) {
    for (const end of ends) {
      if (begin < end && end - begin < read.length) others.push(read.slice(begin, end));
      if (others.length > most) return others;
    }
  }
  return others;
}

/** Whether `id` is among the `otherIds`, without making them: of a long one that was made for it they are millions. */
export function isOtherId(read: string, hasUser: boolean, id: string): boolean {
  if (id === '' || id.length >= read.length) return false;
  const { begins, ends } = boundsOf(read, hasUser);
  const endsThere = new Set(ends);
  return begins.some((begin) => endsThere.has(begin + id.length) && read.startsWith(id, begin));
}

/** Where an id may begin and end in what was read for one. */
function boundsOf(read: string, hasUser: boolean): { begins: number[]; ends: number[] } {
  return {
    begins: [0, ...places(read, AS, (at) => portEndsAt(read, at)).map((at) => at + AS.length)],
    ends: [...(hasUser ? places(read, OPENING, (at) => userBeginsAt(read, at)) : []), read.length],
  };
}

function places(text: string, what: string, fits: (at: number) => boolean): number[] {
  const found: number[] = [];
  for (let at = text.indexOf(what); at !== -1; at = text.indexOf(what, at + 1)) if (at > 0 && fits(at)) found.push(at);
  return found;
}

function portEndsAt(text: string, end: number): boolean {
  const before = text.slice(Math.max(0, end - 6), end);
  const colon = before.lastIndexOf(':');
  return colon !== -1 && isDigits(before.slice(colon + 1), 5);
}

function userBeginsAt(text: string, at: number): boolean {
  const head = headAt(text, at);
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
