import { equalBytes, isHash } from './bytes.js';
import { emptyRoot, nodeHash } from './merkle-tree.js';
import { nobleSha256, type Sha256 } from './sha256.js';

/** Outcome of a check; `reason` is for people, not for programs. */
export type Verdict = { valid: true } | { valid: false; reason: string };

export interface InclusionProof {
  readonly leafHash: Uint8Array;
  readonly leafIndex: number;
  readonly treeSize: number;
  /** Siblings from the leaf upwards. */
  readonly path: readonly Uint8Array[];
  readonly root: Uint8Array;
}

export interface ConsistencyProof {
  readonly oldSize: number;
  readonly newSize: number;
  readonly oldRoot: Uint8Array;
  readonly newRoot: Uint8Array;
  readonly path: readonly Uint8Array[];
}

/**
 * Does the tree with this root hold the leaf at this index (RFC 9162 section 2.1.3.2)? Sizes below 2^53, hashes of 32 bytes; never throws.
 * `treeSize` must come from a trusted place: sizes that give the leaf the same path (5 and 6 for leaf 3) are not told apart.
 */
export function verifyInclusion(proof: InclusionProof, sha256: Sha256 = nobleSha256): Verdict {
  const { leafHash, leafIndex, treeSize, path, root } = proof;
  if (!isSize(leafIndex) || !isSize(treeSize)) return invalid('leaf index or tree size is not an integer from 0 to 2^53 - 1');
  if (leafIndex >= treeSize) return invalid('leaf index is not below the tree size');
  if (!isHash(leafHash) || !isHash(root)) return invalid('leaf hash or root is not 32 bytes');
  if (!isPath(path)) return invalid('path is not a list of 32-byte hashes');

  let fn = leafIndex;
  let sn = treeSize - 1;
  let hash = leafHash;
  for (const sibling of path) {
    if (sn === 0) return invalid('path has extra elements');
    if (isOdd(fn) || fn === sn) {
      hash = nodeHash(sibling, hash, sha256);
      // A last node without a right sibling moves up unhashed until it has a left one.
      while (!isOdd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      hash = nodeHash(hash, sibling, sha256);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  if (sn !== 0) return invalid('path has too few elements');
  return equalBytes(hash, root) ? { valid: true } : invalid('path does not lead to the root');
}

/**
 * Is the tree of `oldSize` leaves the beginning of the tree of `newSize` (RFC 9162 section 2.1.4.2)? Never throws. Equal sizes need
 * equal roots and no path; `oldSize` 0, which the RFC leaves out, needs the empty root and no path.
 */
export function verifyConsistency(proof: ConsistencyProof, sha256: Sha256 = nobleSha256): Verdict {
  const { oldSize, newSize, oldRoot, newRoot, path } = proof;
  if (!isSize(oldSize) || !isSize(newSize)) return invalid('a tree size is not an integer from 0 to 2^53 - 1');
  if (oldSize > newSize) return invalid('old tree is larger than new tree');
  if (!isHash(oldRoot) || !isHash(newRoot)) return invalid('a root is not 32 bytes');
  if (!isPath(path)) return invalid('path is not a list of 32-byte hashes');
  if (oldSize === 0 && !equalBytes(oldRoot, emptyRoot(sha256))) return invalid('old tree has no leaves but not the empty root');
  if (oldSize === newSize && !equalBytes(oldRoot, newRoot)) return invalid('same size, different roots');
  if (oldSize === 0 || oldSize === newSize) return path.length === 0 ? { valid: true } : invalid('path has extra elements');
  return climbBothTrees(proof, sha256);
}

/** Steps 2 to 7 of RFC 9162 section 2.1.4.2, for 0 < oldSize < newSize and checked shapes. */
function climbBothTrees({ oldSize, newSize, oldRoot, newRoot, path }: ConsistencyProof, sha256: Sha256): Verdict {
  // An old tree of 2^k leaves is a node of the new one, so its root is where both climbs begin.
  const [start, ...siblings] = isPowerOfTwo(oldSize) ? [oldRoot, ...path] : path;
  if (start === undefined) return invalid('path has too few elements');

  let fn = oldSize - 1;
  let sn = newSize - 1;
  while (isOdd(fn)) [fn, sn] = [half(fn), half(sn)];
  let oldHash = start;
  let newHash = start;
  for (const sibling of siblings) {
    if (sn === 0) return invalid('path has extra elements');
    if (isOdd(fn) || fn === sn) {
      oldHash = nodeHash(sibling, oldHash, sha256);
      newHash = nodeHash(sibling, newHash, sha256);
      while (!isOdd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      newHash = nodeHash(newHash, sibling, sha256);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  if (sn !== 0) return invalid('path has too few elements');
  if (!equalBytes(oldHash, oldRoot)) return invalid('path does not lead to the old root');
  return equalBytes(newHash, newRoot) ? { valid: true } : invalid('path does not lead to the new root');
}

function invalid(reason: string): Verdict {
  return { valid: false, reason };
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isPath(value: unknown): value is readonly Uint8Array[] {
  // findIndex, unlike every, also looks at the holes of a sparse array.
  return Array.isArray(value) && value.findIndex((element) => !isHash(element)) === -1;
}

// Arithmetic instead of bit operators, which cut to 32 bits.
function isOdd(n: number): boolean {
  return n % 2 === 1;
}

function half(n: number): number {
  return Math.floor(n / 2);
}

function isPowerOfTwo(n: number): boolean {
  while (!isOdd(n)) n /= 2;
  return n === 1;
}
