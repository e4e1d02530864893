const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const LOWER_U = 0x75;
const LONGEST_SEARCHABLE_NUMBER = 1000;

export interface JsonScan {
  /** Deepest nesting of arrays and objects; the scan ends as soon as it exceeds the limit. */
  depth: number;
  /** Why PostgreSQL's jsonb would refuse a text that is valid JSON; undefined when it takes it. */
  jsonbProblem: string | undefined;
}

/**
 * Reads JSON text once, in linear time and without recursion, for what must be known before it is parsed: how deep it is, and
 * whether jsonb can hold it (no U+0000, no lone surrogates, numbers within numeric's range). It does not validate.
 */
export function scanJson(text: Uint8Array, maxDepth: number): JsonScan {
  let depth = 0;
  let deepest = 0;
  let jsonbProblem: string | undefined;
  for (let at = 0; at < text.length; at++) {
    const byte = text[at]!;
    if (byte === QUOTE) {
      const string = scanString(text, at + 1);
      jsonbProblem ??= string.problem;
      at = string.end;
    } else if (byte === 0x5b || byte === 0x7b) {
      deepest = Math.max(deepest, ++depth);
      if (deepest > maxDepth) break;
    } else if (byte === 0x5d || byte === 0x7d) {
      depth--;
    } else if (isDigit(byte)) {
      const number = scanNumber(text, at);
      jsonbProblem ??= number.problem;
      at = number.end - 1;
    }
  }
  return { depth: deepest, jsonbProblem };
}

/** From behind the opening quote to the closing one (its index, or the end of the text). */
function scanString(text: Uint8Array, start: number): { end: number; problem: string | undefined } {
  let problem: string | undefined;
  let highSurrogateEnd = -1; // where a low surrogate must follow
  let at = start;
  for (; at < text.length && text[at] !== QUOTE; at++) {
    if (text[at] !== BACKSLASH) continue;
    if (text[at + 1] !== LOWER_U) {
      at++;
      continue;
    }
    const unit = hexUnit(text, at + 2);
    const isLow = unit >= 0xdc00 && unit <= 0xdfff;
    const isHigh = unit >= 0xd800 && unit <= 0xdbff;
    if (unit === 0) problem ??= 'it holds \\u0000, which jsonb cannot store';
    if (isLow !== (highSurrogateEnd === at)) problem ??= LONE_SURROGATE;
    if (isHigh && text[at + 6] !== BACKSLASH) problem ??= LONE_SURROGATE;
    highSurrogateEnd = isHigh ? at + 6 : -1;
    at += 5;
    if (isHigh && text[at + 2] !== LOWER_U) problem ??= LONE_SURROGATE;
  }
  return { end: at, problem };
}

const LONE_SURROGATE = 'it holds half a surrogate pair, which jsonb cannot store';

/** A digit run with fraction and exponent. numeric holds 131,072 digits before and 16,383 behind the point: far wider than this. */
function scanNumber(text: Uint8Array, start: number): { end: number; problem: string | undefined } {
  let at = start;
  let exponentDigits = 0;
  let inExponent = false;
  for (; at < text.length; at++) {
    const byte = text[at]!;
    if (isDigit(byte)) exponentDigits += inExponent ? 1 : 0;
    else if (byte === 0x65 || byte === 0x45) inExponent = true;
    else if (byte !== 0x2e && byte !== 0x2b && byte !== 0x2d) break;
  }
  const outOfRange = exponentDigits > 3 || at - start > LONGEST_SEARCHABLE_NUMBER;
  return { end: at, problem: outOfRange ? 'it holds a number too long to be searched' : undefined };
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

/** The four hex digits at an index as a number; NaN when they are not all there. */
function hexUnit(text: Uint8Array, start: number): number {
  let unit = 0;
  for (let at = start; at < start + 4; at++) {
    const byte = text[at] ?? 0;
    const digit = isDigit(byte)
      ? byte - 0x30
      : byte >= 0x61 && byte <= 0x66
        ? byte - 0x57
        : byte >= 0x41 && byte <= 0x46
          ? byte - 0x37
          : NaN;
    unit = unit * 16 + digit;
  }
  return unit;
}
