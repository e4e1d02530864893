import { HashingError } from './hashing-error.js';

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | { readonly [member: string]: JsonValue };

export type CanonicalParse = { kind: 'ok'; value: JsonValue } | { kind: 'malformed'; reason: string };

/** Arrays and objects inside one another; entries need 1. Bounds the stack for input from outside. */
const MAX_DEPTH = 64;

const encoder = new TextEncoder();

/**
 * RFC 8785 text of `value`: members sorted by UTF-16 code units, numbers as ECMAScript writes them, no space. Throws HashingError
 * `not_finite`, `lone_surrogate`, `not_json` (undefined, bigint, Date …), `cycle` or `too_deep` (over 64 levels).
 */
export function canonicalJson(value: JsonValue): string {
  return serialize(value, []);
}

/** UTF-8 bytes of `canonicalJson(value)`; same errors. */
export function canonicalBytes(value: JsonValue): Uint8Array {
  return encoder.encode(canonicalJson(value));
}

/**
 * The value of canonical `bytes`. Anything else is `malformed`: not UTF-8, a byte order mark, duplicate members, trailing data, or
 * another spelling of the same value. Never throws.
 */
export function parseCanonical(bytes: Uint8Array): CanonicalParse {
  let text: string;
  try {
    // `ignoreBOM` keeps a byte order mark in the text, where JSON.parse refuses it.
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return { kind: 'malformed', reason: 'not UTF-8' };
  }
  let value: JsonValue;
  try {
    value = JSON.parse(text) as JsonValue;
  } catch {
    return { kind: 'malformed', reason: 'not JSON' };
  }
  try {
    // Strict decoding is one to one, so equal text means equal bytes; a duplicate member is lost by JSON.parse and shows here too.
    if (canonicalJson(value) !== text) return { kind: 'malformed', reason: 'not in canonical form (RFC 8785)' };
  } catch (error) {
    return { kind: 'malformed', reason: error instanceof Error ? error.message : 'cannot be canonicalised' };
  }
  return { kind: 'ok', value };
}

/** True when `bytes` are the canonical form of the JSON value they hold (RFC 8785). Never throws. */
export function isCanonical(bytes: Uint8Array): boolean {
  return parseCanonical(bytes).kind === 'ok';
}

function serialize(value: unknown, ancestors: object[]): string {
  switch (typeof value) {
    case 'string':
      return quote(value);
    case 'number':
      if (!Number.isFinite(value)) throw new HashingError('not_finite', `${value} has no JSON form`);
      return JSON.stringify(value);
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object':
      return value === null ? 'null' : serializeContainer(value, ancestors);
    case 'undefined':
    case 'bigint':
    case 'symbol':
    case 'function':
      throw new HashingError('not_json', `${typeof value} has no JSON form`);
  }
}

function serializeContainer(container: object, ancestors: object[]): string {
  if (ancestors.includes(container)) throw new HashingError('cycle', 'the value contains itself');
  if (ancestors.length >= MAX_DEPTH) throw new HashingError('too_deep', `nested deeper than ${MAX_DEPTH} levels`);
  ancestors.push(container);
  const text = Array.isArray(container) ? serializeArray(container, ancestors) : serializeObject(container, ancestors);
  ancestors.pop();
  return text;
}

function serializeArray(items: readonly unknown[], ancestors: object[]): string {
  // Array.from also visits holes, which are undefined and refused.
  return `[${Array.from(items, (item) => serialize(item, ancestors)).join(',')}]`;
}

function serializeObject(object: object, ancestors: object[]): string {
  // A Date, a Map or an instance would lose its content silently; this test holds for plain objects of any realm.
  const prototype = Object.getPrototypeOf(object) as object | null;
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    throw new HashingError('not_json', 'only plain objects and arrays have a JSON form');
  }
  const members = object as Record<string, unknown>;
  // The default sort compares UTF-16 code units, as RFC 8785 section 3.2.3 wants.
  const names = Object.keys(members).sort();
  return `{${names.map((name) => `${quote(name)}:${serialize(members[name], ancestors)}`).join(',')}}`;
}

/** JSON.stringify escapes exactly as RFC 8785 section 3.2.2.2 says, once lone surrogates are out. */
function quote(text: string): string {
  if (!text.isWellFormed()) throw new HashingError('lone_surrogate', 'a string has half of a surrogate pair');
  return JSON.stringify(text);
}
