/**
 * Pieces of reading a line by positions. No regular expressions: the lines hold what clients chose, and a pattern that can
 * backtrack takes a hostile id's length squared.
 */

/** What stands between a fixed beginning and a fixed end; undefined when it does not fit or is empty. */
export function between(text: string, prefix: string, suffix: string): string | undefined {
  if (text.length <= prefix.length + suffix.length || !text.startsWith(prefix) || !text.endsWith(suffix)) return undefined;
  return text.slice(prefix.length, text.length - suffix.length);
}

/** Where the run of ASCII digits that begins at `from` ends; `from` itself when there is none. */
export function digitsEnd(text: string, from: number, longest: number): number {
  let at = from;
  while (at < text.length && at - from < longest && isDigit(text.charCodeAt(at))) at++;
  return at;
}

export function isDigits(text: string, longest: number): boolean {
  return text !== '' && text.length <= longest && digitsEnd(text, 0, longest) === text.length;
}

export interface Peer {
  address: string;
  port: number | null;
}

/** `address:port`, the port after the last colon (`::1:44078`, `/path/of/socket:0`); without a port the whole is the address. */
export function peerOf(text: string): Peer {
  const colon = text.lastIndexOf(':');
  const digits = text.slice(colon + 1);
  if (colon <= 0 || !isDigits(digits, 5)) return { address: text, port: null };
  return { address: text.slice(0, colon), port: Number(digits) };
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}
