import { sha256 } from '@noble/hashes/sha2.js';

/**
 * SHA-256 of `data`, 32 bytes. Must be synchronous and must not keep `data` after it returns: callers reuse that buffer.
 * The ingest bridge passes Node's native one; everybody else has `nobleSha256`.
 */
export type Sha256 = (data: Uint8Array) => Uint8Array;

/** The default of every function here: pure JavaScript, so that a proof can be checked in a browser. */
export const nobleSha256: Sha256 = (data) => sha256(data);

/** Size of every hash in this library, in bytes. */
export const HASH_SIZE_BYTES = 32;
