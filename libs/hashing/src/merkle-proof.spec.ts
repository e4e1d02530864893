import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import {
  bytesToHex,
  consistencyPath,
  emptyRoot,
  inclusionPath,
  leafHash,
  nodeHash,
  rootOf,
  verifyConsistency,
  verifyInclusion,
  type ConsistencyProof,
  type InclusionProof,
  type Sha256,
} from './index.js';

const nativeSha256: Sha256 = (data) => createHash('sha256').update(data).digest();
const MAX_SIZE = 70;
const leafHashes = Array.from({ length: MAX_SIZE }, (_, i) => leafHash(Buffer.from(`leaf ${i}`)));
const roots = Array.from({ length: MAX_SIZE + 1 }, (_, size) => rootOf(leafHashes.slice(0, size), nativeSha256));
const someHash = leafHash(Buffer.from('not in the tree'));

function vectors<T>(kind: 'inclusion' | 'consistency'): { name: string; vector: T }[] {
  const folder = new URL(`../testdata/transparency-dev-merkle/${kind}/`, import.meta.url);
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.json'))
    .map((name) => ({
      name,
      vector: JSON.parse(readFileSync(new URL(name.split('/').map(encodeURIComponent).join('/'), folder), 'utf8')) as T,
    }));
}

const fromBase64 = (text: string) => new Uint8Array(Buffer.from(text, 'base64'));

interface InclusionVector {
  leafIdx: number;
  treeSize: number;
  root: string;
  leafHash: string;
  proof: string[] | null;
  wantErr: boolean;
}

interface ConsistencyVector {
  size1: number;
  size2: number;
  root1: string;
  root2: string;
  proof: string[] | null;
  wantErr: boolean;
}

describe('transparency-dev/merkle vectors', () => {
  const inclusion = vectors<InclusionVector>('inclusion');
  const consistency = vectors<ConsistencyVector>('consistency');

  it('are all there', () => {
    expect([inclusion.length, consistency.length]).toEqual([49, 43]);
  });

  it.each(inclusion)('inclusion $name', ({ vector }) => {
    const verdict = verifyInclusion({
      leafHash: fromBase64(vector.leafHash),
      leafIndex: vector.leafIdx,
      treeSize: vector.treeSize,
      path: (vector.proof ?? []).map(fromBase64),
      root: fromBase64(vector.root),
    });
    expect(verdict.valid).toBe(!vector.wantErr);
  });

  it.each(consistency)('consistency $name', ({ vector }) => {
    const verdict = verifyConsistency({
      oldSize: vector.size1,
      newSize: vector.size2,
      oldRoot: fromBase64(vector.root1),
      newRoot: fromBase64(vector.root2),
      path: (vector.proof ?? []).map(fromBase64),
    });
    expect(verdict.valid).toBe(!vector.wantErr);
  });
});

function inclusionProof(treeSize: number, leafIndex: number): InclusionProof {
  const path = inclusionPath(leafHashes.slice(0, treeSize), leafIndex, nativeSha256);
  return { leafHash: leafHashes[leafIndex]!, leafIndex, treeSize, path, root: roots[treeSize]! };
}

function consistencyProof(oldSize: number, newSize: number): ConsistencyProof {
  const path = consistencyPath(leafHashes.slice(0, newSize), oldSize, nativeSha256);
  return { oldSize, newSize, oldRoot: roots[oldSize]!, newRoot: roots[newSize]!, path };
}

/** Every way to damage a path in one place: a bit of each element, each element removed, doubled or swapped, one added. */
function damagedPaths(path: readonly Uint8Array[]): Uint8Array[][] {
  return [
    ...path.map((hash, i) => path.with(i, hash.with(i % 32, hash[i % 32]! ^ 1))),
    ...path.map((hash, i) => path.with(i, hash.subarray(0, 31))),
    ...path.map((hash, i) => path.with(i, new Uint8Array([...hash, 0]))),
    ...path.map((_, i) => path.toSpliced(i, 1)),
    ...path.map((hash, i) => path.toSpliced(i, 0, hash)),
    ...path.slice(1).map((_, i) => path.with(i, path[i + 1]!).with(i + 1, path[i]!)),
    [someHash, ...path],
    [...path, someHash],
  ];
}

/** On which side the siblings of a leaf are, from the leaf up, straight from the definition of the tree in RFC 6962 section 2.1. */
function siblingSides(leafIndex: bigint, treeSize: bigint): string {
  if (treeSize === 1n) return '';
  let k = 1n;
  while (k * 2n < treeSize) k *= 2n;
  return leafIndex < k ? `${siblingSides(leafIndex, k)}R` : `${siblingSides(leafIndex - k, treeSize - k)}L`;
}

/** Both roots over made-up subtrees, and the path between them: SUBPROOF of RFC 6962 section 2.1.2 read as an equation. */
function climb(oldSize: bigint, newSize: bigint, isOldTree: boolean, path: Uint8Array[]): { oldRoot: Uint8Array; newRoot: Uint8Array } {
  const nextOfPath = () => {
    path.push(leafHashes[path.length]!);
    return path.at(-1)!;
  };
  if (oldSize === newSize) {
    const hash = isOldTree ? someHash : nextOfPath();
    return { oldRoot: hash, newRoot: hash };
  }
  let k = 1n;
  while (k * 2n < newSize) k *= 2n;
  if (oldSize <= k) {
    const { oldRoot, newRoot } = climb(oldSize, k, isOldTree, path);
    return { oldRoot, newRoot: nodeHash(newRoot, nextOfPath(), nativeSha256) };
  }
  const { oldRoot, newRoot } = climb(oldSize - k, newSize - k, false, path);
  const left = nextOfPath();
  return { oldRoot: nodeHash(left, oldRoot, nativeSha256), newRoot: nodeHash(left, newRoot, nativeSha256) };
}

/** How SUBPROOF (RFC 6962 section 2.1.2) joins the elements of a path: `old` the known root, `part` a first element, R and L siblings. */
function joins(oldSize: number, newSize: number, isOldTree = true): string {
  if (oldSize === newSize) return isOldTree ? 'old' : 'part';
  let k = 1;
  while (k * 2 < newSize) k *= 2;
  return oldSize <= k ? `${joins(oldSize, k, isOldTree)} R` : `${joins(oldSize - k, newSize - k, false)} L`;
}

/** All [size, index] of trees up to a size. */
function placesUpTo(maxSize: number): [number, number][] {
  return Array.from({ length: maxSize }, (_, i) => Array.from({ length: i + 1 }, (_, index): [number, number] => [i + 1, index])).flat();
}

const anyBigSize = fc.oneof(
  fc.maxSafeNat(),
  fc.integer({ min: 0, max: 2000 }).map((below) => Number.MAX_SAFE_INTEGER - below),
  fc.integer({ min: 30, max: 52 }).map((power) => 2 ** power),
);

describe('verifyInclusion', () => {
  const anyLeaf = fc.integer({ min: 1, max: MAX_SIZE }).chain((size) => fc.tuple(fc.constant(size), fc.nat(size - 1)));

  it('accepts every leaf of every tree', () => {
    for (let size = 1; size <= MAX_SIZE; size++) {
      for (let index = 0; index < size; index++)
        expect(verifyInclusion(inclusionProof(size, index), nativeSha256)).toEqual({ valid: true });
    }
  });

  it('refuses a path damaged in any one place', () => {
    fc.assert(
      fc.property(anyLeaf, ([size, index]) => {
        const proof = inclusionProof(size, index);
        for (const path of damagedPaths(proof.path)) expect(verifyInclusion({ ...proof, path }, nativeSha256).valid).toBe(false);
      }),
    );
  });

  it('refuses another leaf, another root and every other index', () => {
    fc.assert(
      fc.property(anyLeaf, ([size, index]) => {
        const proof = inclusionProof(size, index);
        expect(verifyInclusion({ ...proof, leafHash: someHash }, nativeSha256).valid).toBe(false);
        expect(verifyInclusion({ ...proof, root: someHash }, nativeSha256).valid).toBe(false);
        for (let other = 0; other <= size; other++) {
          if (other !== index) expect(verifyInclusion({ ...proof, leafIndex: other }, nativeSha256).valid).toBe(false);
        }
      }),
    );
  });

  it('refuses another tree size exactly when the leaf has another path there: the size itself must come from a trusted place', () => {
    fc.assert(
      fc.property(anyLeaf, ([size, index]) => {
        const proof = inclusionProof(size, index);
        for (let other = 0; other <= 2 * MAX_SIZE; other++) {
          const isSamePath = other > index && siblingSides(BigInt(index), BigInt(other)) === siblingSides(BigInt(index), BigInt(size));
          expect(verifyInclusion({ ...proof, treeSize: other }, nativeSha256).valid).toBe(isSamePath);
        }
      }),
    );
  });

  it('accepts a proof for another place exactly when that has the same path, so never with an element too many', () => {
    for (const [size, index] of placesUpTo(9)) {
      const proof = inclusionProof(size, index);
      for (const [otherSize, otherIndex] of placesUpTo(12)) {
        const verdict = verifyInclusion({ ...proof, treeSize: otherSize, leafIndex: otherIndex }, nativeSha256);
        const isSamePath = siblingSides(BigInt(otherIndex), BigInt(otherSize)) === siblingSides(BigInt(index), BigInt(size));
        expect([size, index, otherSize, otherIndex, verdict.valid]).toEqual([size, index, otherSize, otherIndex, isSamePath]);
      }
    }
  });

  it('refuses an inner node presented as a leaf', () => {
    const node = nodeHash(leafHashes[0]!, leafHashes[1]!);
    const path = [nodeHash(leafHashes[2]!, leafHashes[3]!)];
    // The climb itself is right: this leaf hash cannot be had from any data, which is what the prefixes are for.
    expect(verifyInclusion({ leafHash: node, leafIndex: 0, treeSize: 2, path, root: roots[4]! }).valid).toBe(true);
    const nodeData = Buffer.concat([leafHashes[0]!, leafHashes[1]!]);
    expect(verifyInclusion({ leafHash: leafHash(nodeData), leafIndex: 0, treeSize: 2, path, root: roots[4]! }).valid).toBe(false);
    expect(verifyInclusion({ leafHash: node, leafIndex: 0, treeSize: 4, path, root: roots[4]! }).valid).toBe(false);
  });

  it('is exact up to sizes of 2^53 - 1', () => {
    fc.assert(
      fc.property(anyBigSize, fc.maxSafeNat(), (anySize, anyIndex) => {
        const treeSize = Math.max(1, anySize);
        const leafIndex = anyIndex % treeSize;
        const sides = siblingSides(BigInt(leafIndex), BigInt(treeSize));
        const path = Array.from(sides, (_, i) => leafHashes[i]!);
        const root = path.reduce(
          (hash, sibling, i) => (sides[i] === 'R' ? nodeHash(hash, sibling, nativeSha256) : nodeHash(sibling, hash, nativeSha256)),
          someHash,
        );
        const proof = { leafHash: someHash, leafIndex, treeSize, path, root };
        expect(verifyInclusion(proof, nativeSha256)).toEqual({ valid: true });
        if (leafIndex > 0) expect(verifyInclusion({ ...proof, leafIndex: leafIndex - 1 }, nativeSha256).valid).toBe(false);
        expect(verifyInclusion({ ...proof, path: [...path, someHash] }, nativeSha256).valid).toBe(false);
      }),
    );
  });
});

describe('verifyConsistency', () => {
  it('accepts every beginning of every tree, the empty one and itself too', () => {
    for (let newSize = 0; newSize <= MAX_SIZE; newSize++) {
      for (let oldSize = 0; oldSize <= newSize; oldSize++) {
        expect(verifyConsistency(consistencyProof(oldSize, newSize), nativeSha256)).toEqual({ valid: true });
      }
    }
  });

  const anyPair = fc.tuple(fc.nat(MAX_SIZE), fc.nat(MAX_SIZE)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);

  it('refuses a path damaged in any one place', () => {
    fc.assert(
      fc.property(anyPair, ([oldSize, newSize]) => {
        const proof = consistencyProof(oldSize, newSize);
        for (const path of damagedPaths(proof.path)) expect(verifyConsistency({ ...proof, path }, nativeSha256).valid).toBe(false);
      }),
    );
  });

  it('refuses other roots and swapped trees', () => {
    fc.assert(
      fc.property(anyPair, ([oldSize, newSize]) => {
        const proof = consistencyProof(oldSize, newSize);
        expect(verifyConsistency({ ...proof, oldRoot: someHash }, nativeSha256).valid).toBe(false);
        // Every tree begins with the empty one, so nothing can be said of the new root then.
        expect(verifyConsistency({ ...proof, newRoot: someHash }, nativeSha256).valid).toBe(oldSize === 0 && newSize > 0);
        if (oldSize < newSize) {
          const swapped = { ...proof, oldSize: newSize, newSize: oldSize, oldRoot: proof.newRoot, newRoot: proof.oldRoot };
          expect(verifyConsistency(swapped, nativeSha256).valid).toBe(false);
        }
      }),
    );
  });

  it('accepts a proof for other sizes exactly when their paths join alike, so never with an element too many', () => {
    for (const [newSize, oldBelow] of placesUpTo(9)) {
      const proof = consistencyProof(oldBelow + 1, newSize);
      for (const [otherNew, otherBelow] of placesUpTo(12)) {
        const verdict = verifyConsistency({ ...proof, oldSize: otherBelow + 1, newSize: otherNew }, nativeSha256);
        const isAlike = joins(otherBelow + 1, otherNew) === joins(oldBelow + 1, newSize);
        expect([oldBelow + 1, newSize, otherBelow + 1, otherNew, verdict.valid]).toEqual([
          oldBelow + 1,
          newSize,
          otherBelow + 1,
          otherNew,
          isAlike,
        ]);
      }
    }
  });

  it('refuses the proof of a history that was rewritten', () => {
    for (let oldSize = 1; oldSize < 20; oldSize++) {
      const rewritten = leafHashes.slice(0, 20).with(oldSize - 1, someHash);
      const path = consistencyPath(rewritten, oldSize, nativeSha256);
      const verdict = verifyConsistency({ oldSize, newSize: 20, oldRoot: roots[oldSize]!, newRoot: rootOf(rewritten), path }, nativeSha256);
      expect(verdict.valid).toBe(false);
    }
  });

  it('is exact up to sizes of 2^53 - 1', () => {
    fc.assert(
      fc.property(anyBigSize, anyBigSize, (a, b) => {
        const [oldSize, newSize] = [Math.min(a, b), Math.max(a, b)];
        fc.pre(0 < oldSize && oldSize < newSize);
        const path: Uint8Array[] = [];
        const { oldRoot, newRoot } = climb(BigInt(oldSize), BigInt(newSize), true, path);
        const proof = { oldSize, newSize, oldRoot, newRoot, path };
        expect(verifyConsistency(proof, nativeSha256)).toEqual({ valid: true });
        for (const damaged of damagedPaths(path)) expect(verifyConsistency({ ...proof, path: damaged }, nativeSha256).valid).toBe(false);
      }),
      { numRuns: 30 },
    );
  });
});

describe('proofs from outside', () => {
  const strange = [
    undefined,
    null,
    'x',
    -1,
    1.5,
    NaN,
    Infinity,
    2 ** 53,
    1n,
    {},
    [],
    new Uint8Array(31),
    new Uint8Array(33),
    [null],
    new Array(3),
  ];

  it('never throw, whatever a field holds', () => {
    const inclusion = inclusionProof(8, 5);
    const consistency = consistencyProof(6, 8);
    for (const value of strange) {
      for (const field of ['leafHash', 'leafIndex', 'treeSize', 'path', 'root']) {
        expect(verifyInclusion({ ...inclusion, [field]: value })).toEqual({ valid: false, reason: expect.any(String) });
      }
      for (const field of ['oldSize', 'newSize', 'oldRoot', 'newRoot', 'path']) {
        expect(verifyConsistency({ ...consistency, [field]: value })).toEqual({ valid: false, reason: expect.any(String) });
      }
    }
  });

  it('take the empty tree as old tree only with its own root and no path', () => {
    const proof = { oldSize: 0, newSize: 8, oldRoot: emptyRoot(), newRoot: roots[8]!, path: [] };
    expect(verifyConsistency(proof).valid).toBe(true);
    expect(verifyConsistency({ ...proof, oldRoot: someHash }).valid).toBe(false);
    expect(verifyConsistency({ ...proof, path: [someHash] }).valid).toBe(false);
    expect(bytesToHex(proof.oldRoot)).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  });
});
