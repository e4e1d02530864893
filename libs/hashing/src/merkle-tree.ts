import { isHash } from './bytes.js';
import { HashingError } from './hashing-error.js';
import { HASH_SIZE_BYTES, nobleSha256, type Sha256 } from './sha256.js';

// RFC 6962 section 2.1: different first bytes, so that an inner node can never be presented as a leaf.
const LEAF_PREFIX = 0x00;
const NODE_PREFIX = 0x01;

// One buffer for all inner nodes: a batch of n messages hashes n - 1 of them. Safe because Sha256 is synchronous and keeps nothing.
const nodeInput = new Uint8Array(1 + 2 * HASH_SIZE_BYTES);
nodeInput[0] = NODE_PREFIX;

/** SHA-256(0x00 || data), 32 bytes: the hash of a leaf (RFC 6962 section 2.1). */
export function leafHash(data: Uint8Array, sha256: Sha256 = nobleSha256): Uint8Array {
  const input = new Uint8Array(1 + data.length);
  input[0] = LEAF_PREFIX;
  input.set(data, 1);
  return sha256(input);
}

/** SHA-256(0x01 || left || right), 32 bytes: the hash of an inner node (RFC 6962 section 2.1); throws `hash_length`. */
export function nodeHash(left: Uint8Array, right: Uint8Array, sha256: Sha256 = nobleSha256): Uint8Array {
  // Checked here because a shorter child would leave bytes of the previous node in the buffer.
  if (left.length !== HASH_SIZE_BYTES || right.length !== HASH_SIZE_BYTES) throw hashLengthError();
  nodeInput.set(left, 1);
  nodeInput.set(right, 1 + HASH_SIZE_BYTES);
  return sha256(nodeInput);
}

/** SHA-256 of nothing: the root of the tree without leaves (RFC 6962 section 2.1). */
export function emptyRoot(sha256: Sha256 = nobleSha256): Uint8Array {
  return sha256(new Uint8Array(0));
}

/** Root over leaf hashes of 32 bytes each, in order (MTH, RFC 6962 section 2.1); throws `hash_length`. */
export function rootOf(leafHashes: readonly Uint8Array[], sha256: Sha256 = nobleSha256): Uint8Array {
  return leafHashes.length === 0 ? emptyRoot(sha256) : rangeRoot(leafHashes, 0, leafHashes.length, sha256);
}

/** Siblings from the leaf at `leafIndex` up to the root (PATH, RFC 6962 section 2.1.1); throws `out_of_range` and `hash_length`. */
export function inclusionPath(leafHashes: readonly Uint8Array[], leafIndex: number, sha256: Sha256 = nobleSha256): Uint8Array[] {
  if (!Number.isInteger(leafIndex) || leafIndex < 0 || leafIndex >= leafHashes.length) {
    throw new HashingError('out_of_range', `leaf index ${leafIndex} is not in a tree of ${leafHashes.length} leaves`);
  }
  const path: Uint8Array[] = [];
  let from = 0;
  let to = leafHashes.length;
  while (to - from > 1) {
    const split = splitOf(from, to);
    if (leafIndex < split) {
      path.push(rangeRoot(leafHashes, split, to, sha256));
      to = split;
    } else {
      path.push(rangeRoot(leafHashes, from, split, sha256));
      from = split;
    }
  }
  return path.reverse();
}

/**
 * What shows that the first `oldSize` leaves are still the beginning of the tree (PROOF, RFC 6962 section 2.1.2); empty for
 * `oldSize` 0 and for the whole tree; throws `out_of_range` and `hash_length`.
 */
export function consistencyPath(leafHashes: readonly Uint8Array[], oldSize: number, sha256: Sha256 = nobleSha256): Uint8Array[] {
  if (!Number.isInteger(oldSize) || oldSize < 0 || oldSize > leafHashes.length) {
    throw new HashingError('out_of_range', `old size ${oldSize} is not within a tree of ${leafHashes.length} leaves`);
  }
  if (oldSize === 0) return [];
  const path: Uint8Array[] = [];
  let from = 0;
  let to = leafHashes.length;
  while (oldSize !== to) {
    const split = splitOf(from, to);
    if (oldSize <= split) {
      path.push(rangeRoot(leafHashes, split, to, sha256));
      to = split;
    } else {
      path.push(rangeRoot(leafHashes, from, split, sha256));
      from = split;
    }
  }
  // A remaining range that starts at 0 is the old tree itself, and the verifier has its root already.
  if (from !== 0) path.push(rangeRoot(leafHashes, from, to, sha256));
  return path.reverse();
}

function rangeRoot(leafHashes: readonly Uint8Array[], from: number, to: number, sha256: Sha256): Uint8Array {
  if (to - from > 1) {
    const split = splitOf(from, to);
    return nodeHash(rangeRoot(leafHashes, from, split, sha256), rangeRoot(leafHashes, split, to, sha256), sha256);
  }
  const hash = leafHashes[from];
  if (!isHash(hash)) throw hashLengthError();
  return hash;
}

/** `from` + k, k being the largest power of two smaller than the number of leaves in the range (at least 2). */
function splitOf(from: number, to: number): number {
  let k = 1;
  while (k * 2 < to - from) k *= 2;
  return from + k;
}

function hashLengthError(): HashingError {
  return new HashingError('hash_length', `a hash in a Merkle tree must be a Uint8Array of ${HASH_SIZE_BYTES} bytes`);
}
