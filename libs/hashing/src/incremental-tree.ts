import { isHash } from './bytes.js';
import { HashingError } from './hashing-error.js';
import { emptyRoot, nodeHash } from './merkle-tree.js';
import { nobleSha256, type Sha256 } from './sha256.js';

/**
 * A Merkle tree that only grows and remembers its frontier: the roots of its complete subtrees, largest first, one per 1-bit of
 * the size. `append` costs one node hash on average, `root` and `clone` O(log n). Keeps references to the hashes: do not change them.
 */
export class IncrementalTree {
  private frontier: Uint8Array[] = [];
  private leafCount = 0;

  constructor(private readonly sha256: Sha256 = nobleSha256) {}

  /** The tree over `leafHashes` (32 bytes each), e.g. of an open batch after a restart. */
  static of(leafHashes: Iterable<Uint8Array>, sha256: Sha256 = nobleSha256): IncrementalTree {
    const tree = new IncrementalTree(sha256);
    for (const leafHash of leafHashes) tree.append(leafHash);
    return tree;
  }

  /** Number of leaves. */
  get size(): number {
    return this.leafCount;
  }

  /** Adds the leaf at index `size`; throws `hash_length` and is then unchanged. */
  append(leafHash: Uint8Array): void {
    if (!isHash(leafHash)) throw new HashingError('hash_length', 'a leaf hash must be a Uint8Array of 32 bytes');
    let hash = leafHash;
    // Each trailing 1-bit of the old size is a complete subtree that the new leaf makes part of a twice as large one.
    for (let rest = this.leafCount; rest % 2 === 1; rest = Math.floor(rest / 2)) {
      hash = nodeHash(this.frontier.pop()!, hash, this.sha256);
    }
    this.frontier.push(hash);
    this.leafCount += 1;
  }

  /** Root over all leaves so far: equal to `rootOf` of their hashes (RFC 6962 section 2.1). */
  root(): Uint8Array {
    if (this.leafCount === 0) return emptyRoot(this.sha256);
    return this.frontier.reduceRight((right, left) => nodeHash(left, right, this.sha256));
  }

  /** An independent copy: a lane appends to it inside its transaction and adopts it only after COMMIT. */
  clone(): IncrementalTree {
    const copy = new IncrementalTree(this.sha256);
    copy.frontier = this.frontier.slice();
    copy.leafCount = this.leafCount;
    return copy;
  }
}
