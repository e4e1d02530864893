import { bytesToHex as nobleBytesToHex, concatBytes as nobleConcatBytes, isBytes } from '@noble/hashes/utils.js';
import { HASH_SIZE_BYTES } from './sha256.js';

/** Lower-case hexadecimal text of `bytes`. */
export function bytesToHex(bytes: Uint8Array): string {
  return nobleBytesToHex(bytes);
}

/** The `sizeBytes` bytes written as lower-case hexadecimal `text`; undefined for any other length or character (upper case too). */
export function hexToBytes(text: string, sizeBytes = HASH_SIZE_BYTES): Uint8Array | undefined {
  if (typeof text !== 'string' || text.length !== sizeBytes * 2 || !/^[0-9a-f]*$/.test(text)) return undefined;
  const bytes = new Uint8Array(sizeBytes);
  for (let i = 0; i < sizeBytes; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/** Base64 text of `bytes`: standard alphabet, padded (RFC 4648 section 4). */
export function bytesToBase64(bytes: Uint8Array): string {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

/** The bytes of base64 `text`; undefined unless it is exactly what `bytesToBase64` writes for them (padding, zero pad bits, no spaces). */
export function base64ToBytes(text: string): Uint8Array | undefined {
  if (typeof text !== 'string') return undefined;
  let binary: string;
  try {
    binary = atob(text);
  } catch {
    return undefined;
  }
  // atob forgives spaces, missing padding and stray pad bits; one spelling per value is what keeps bundles comparable.
  if (btoa(binary) !== text) return undefined;
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** True when both hold the same bytes. Not constant-time: nothing here is secret. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** All `parts` one after another in a new array. */
export function concatBytes(...parts: Uint8Array[]): Uint8Array {
  return nobleConcatBytes(...parts);
}

/** True for a byte array of 32 bytes; takes anything, because proofs come from outside. */
export function isHash(value: unknown): value is Uint8Array {
  return isBytes(value) && value.length === HASH_SIZE_BYTES;
}
