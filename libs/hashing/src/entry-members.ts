import { parseCanonical } from './canonical-json.js';

export type Decoded<Entry> = { kind: 'ok'; entry: Entry } | { kind: 'malformed'; reason: string };

/** Values under the names of `T`, not yet known to have its types. */
export type Unchecked<T> = { readonly [Member in keyof T]: unknown };

type ParsedMembers = { kind: 'ok'; members: Members } | { kind: 'malformed'; reason: string };

type Members = { readonly [member: string]: unknown };

/** The members of the canonical object in `bytes`, if its `type` is this one: the type keeps a leaf of a batch and one of the log apart. */
export function parseMembers(bytes: Uint8Array, type: string): ParsedMembers {
  const parsed = parseCanonical(bytes);
  if (parsed.kind === 'malformed') return parsed;
  const { value } = parsed;
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return malformed('not a JSON object');
  const members = value as Members;
  return members.type === type ? { kind: 'ok', members } : malformed(`type is not ${type}`);
}

/** Has the canonical object these members and no others? */
export function hasExactly(members: Members, sortedNames: readonly string[]): boolean {
  const names = Object.keys(members);
  return names.length === sortedNames.length && sortedNames.every((name, index) => names[index] === name);
}

export function malformed(reason: string): { kind: 'malformed'; reason: string } {
  return { kind: 'malformed', reason };
}

export function isUuid(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value);
}

export function isHashHex(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
}

export function isNonceHex(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{32}$/.test(value);
}

/** Shape of a device signature: 64 bytes make at most 88 base58 characters. */
export function isBase58(value: unknown): value is string {
  return typeof value === 'string' && /^[1-9A-HJ-NP-Za-km-z]{1,88}$/.test(value);
}

/** A string that UTF-8 can carry: no lone surrogate. */
export function isText(value: unknown): value is string {
  return typeof value === 'string' && value.isWellFormed();
}

/** An integer from 0 to 2^53 - 1, exact in every JSON reader. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
