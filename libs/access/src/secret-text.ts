import { hash, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';

const SECRET_BYTES = 32;
/** Of SECRET_BYTES in base64url. */
export const SECRET_LENGTH = 43;
const CRC_LENGTH = 6;
const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

export function newSecret(): string {
  return randomBytes(SECRET_BYTES).toString('base64url');
}

/** `text` and six characters by which a copy that lost some, or a look-alike in a log, is told without asking anybody (CRC-32, base 62). */
export function withCheck(text: string): string {
  return text + checkOf(text);
}

/** The text in front of its check; undefined when the check is wrong. */
export function withoutCheck(text: string): string | undefined {
  const body = text.slice(0, -CRC_LENGTH);
  return text === withCheck(body) ? body : undefined;
}

/** What the database keeps of a secret. It has 256 random bits, so nothing slower than SHA-256 is needed. */
export function hashOfSecret(secret: string): Buffer {
  return hash('sha256', secret, 'buffer');
}

/** `length` letters and digits, each as likely as any other. */
export function randomName(length: number): string {
  let name = '';
  while (name.length < length) {
    // The largest multiple of 62 that a byte can hold is 248.
    for (const byte of randomBytes(length)) if (byte < 248 && name.length < length) name += BASE62[byte % 62];
  }
  return name;
}

function checkOf(text: string): string {
  let value = crc32(text);
  let check = '';
  for (let at = 0; at < CRC_LENGTH; at++) {
    check = BASE62[value % 62]! + check;
    value = Math.floor(value / 62);
  }
  return check;
}
