import { createHash } from 'node:crypto';
import { LAST_INSTANT_MS } from './instant.js';

/** What a list's place is made of: the sort columns of the last row given out, times as Unix milliseconds. */
export type CursorKey = 'time' | 'uuid' | 'int' | 'bigint' | 'text';

export interface Place {
  /** One text per sort column. */
  keys: string[];
  /** The time of the first page (Unix ms): "the last 24 hours" means the same on every page. */
  nowMs: number;
}

const VERSION = 1;
/** Of one text to search or sort by: of longer client ids, topics and metrics than this many bytes nothing is stored. */
export const MAX_TEXT_LENGTH = 1_200;
/** Two such texts, all of it quotes that JSON escapes, in base64. */
export const MAX_CURSOR_LENGTH = 8_192;

/** A cursor: base64url of the place and of a hash over the list's name and its filter, so that it fits no other list. */
export function sealCursor(list: string, filter: object, place: Place): string {
  return Buffer.from(JSON.stringify([VERSION, filterHash(list, filter), place.nowMs, ...place.keys])).toString('base64url');
}

/** The place in a cursor of the same list and filter; undefined for any other text. Never throws. */
export function openCursor(text: string, list: string, filter: object, kinds: readonly CursorKey[]): Place | undefined {
  const parts = parsed(text);
  if (!parts || parts.length !== 3 + kinds.length) return undefined;
  const [version, hash, nowMs, ...keys] = parts;
  if (version !== VERSION || hash !== filterHash(list, filter)) return undefined;
  if (!isTimeMs(nowMs) || !kinds.every((kind, at) => fits(kind, keys[at]))) return undefined;
  return { nowMs, keys: keys as string[] };
}

function parsed(text: string): unknown[] | undefined {
  if (text.length > MAX_CURSOR_LENGTH || !/^[A-Za-z0-9_-]+$/.test(text)) return undefined;
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
    return Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** A place is user input like any other: each key has the form that its column's type takes. */
function fits(kind: CursorKey, key: unknown): boolean {
  if (typeof key !== 'string') return false;
  switch (kind) {
    case 'time':
      return /^\d{1,15}$/.test(key) && isTimeMs(Number(key));
    case 'uuid':
      return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(key);
    case 'int':
      return /^\d{1,10}$/.test(key) && Number(key) <= 0x7fffffff;
    case 'bigint':
      return /^\d{1,19}$/.test(key) && BigInt(key) <= 0x7fff_ffff_ffff_ffffn;
    case 'text':
      return key.length <= MAX_TEXT_LENGTH && !key.includes('\0');
  }
}

function isTimeMs(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= LAST_INSTANT_MS;
}

function filterHash(list: string, filter: object): string {
  const given = Object.entries(filter).filter(([, value]) => value !== undefined);
  const sorted = given.sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256')
    .update(JSON.stringify([list, sorted]))
    .digest('base64url')
    .slice(0, 22);
}
