import { createHash } from 'node:crypto';
import fc from 'fast-check';
import {
  bytesToHex,
  consistencyPath,
  emptyRoot,
  IncrementalTree,
  inclusionPath,
  leafHash,
  nodeHash,
  rootOf,
  type Sha256,
} from './index.js';

const nativeSha256: Sha256 = (data) => createHash('sha256').update(data).digest();

/** `size` different leaf hashes. */
function leaves(size: number): Uint8Array[] {
  return Array.from({ length: size }, (_, i) => leafHash(new TextEncoder().encode(`leaf ${i}`)));
}

describe('RFC 6962 tree', () => {
  // The eight leaves of the certificate-transparency reference tree; its root is also the one of the proof vectors of size 8.
  const reference = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'].map((hex) =>
    leafHash(Buffer.from(hex, 'hex')),
  );

  it.each([
    [0, 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
    [1, '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d'],
    [6, '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef'],
    [8, '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328'],
  ])('has the reference root at size %i', (size, root) => {
    expect(bytesToHex(rootOf(reference.slice(0, size)))).toBe(root);
  });

  it('prefixes leaves with 0x00 and inner nodes with 0x01', () => {
    const [left, right] = leaves(2) as [Uint8Array, Uint8Array];
    expect(leafHash(left)).toEqual(new Uint8Array(nativeSha256(Buffer.concat([Buffer.from([0]), left]))));
    expect(nodeHash(left, right)).toEqual(new Uint8Array(nativeSha256(Buffer.concat([Buffer.from([1]), left, right]))));
  });

  it('gives the same with a hash function passed in', () => {
    const hashes = leaves(13);
    expect(bytesToHex(rootOf(hashes, nativeSha256))).toBe(bytesToHex(rootOf(hashes)));
    expect(inclusionPath(hashes, 9, nativeSha256).map(bytesToHex)).toEqual(inclusionPath(hashes, 9).map(bytesToHex));
    expect(consistencyPath(hashes, 6, nativeSha256).map(bytesToHex)).toEqual(consistencyPath(hashes, 6).map(bytesToHex));
    expect(bytesToHex(emptyRoot(nativeSha256))).toBe(bytesToHex(emptyRoot()));
  });

  it('throws for an index or size outside the tree and for hashes that are not 32 bytes', () => {
    for (const index of [-1, 3, 0.5, NaN])
      expect(() => inclusionPath(leaves(3), index)).toThrow(expect.objectContaining({ code: 'out_of_range' }));
    for (const size of [-1, 4, 0.5, NaN])
      expect(() => consistencyPath(leaves(3), size)).toThrow(expect.objectContaining({ code: 'out_of_range' }));
    const short = new Uint8Array(31);
    const lengthError: unknown = expect.objectContaining({ code: 'hash_length' });
    expect(() => rootOf([short])).toThrow(lengthError as Error);
    expect(() => nodeHash(short, leaves(1)[0]!)).toThrow(lengthError as Error);
    expect(() => new IncrementalTree().append(short)).toThrow(lengthError as Error);
  });
});

describe('IncrementalTree', () => {
  it('has the root of the whole tree after every append', () => {
    const hashes = leaves(130);
    const tree = new IncrementalTree();
    expect(tree.root()).toEqual(emptyRoot());
    for (const [i, hash] of hashes.entries()) {
      tree.append(hash);
      expect(tree.size).toBe(i + 1);
      expect(tree.root()).toEqual(rootOf(hashes.slice(0, i + 1)));
    }
  });

  it('grows from any beginning to the same root', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ minLength: 32, maxLength: 32 }), { maxLength: 80 }), fc.nat(80), (hashes, at) => {
        const tree = IncrementalTree.of(hashes.slice(0, at), nativeSha256);
        for (const hash of hashes.slice(at)) tree.append(hash);
        expect(bytesToHex(tree.root())).toBe(bytesToHex(rootOf(hashes)));
      }),
    );
  });

  it('is left alone by what happens to its clone, and the other way round', () => {
    fc.assert(
      fc.property(fc.nat(40), fc.nat(10), fc.nat(10), (size, cloneGrows, originalGrows) => {
        const hashes = leaves(size + 10);
        const original = IncrementalTree.of(hashes.slice(0, size), nativeSha256);
        const clone = original.clone();
        for (const hash of hashes.slice(size, size + cloneGrows)) clone.append(hash);
        expect([original.size, bytesToHex(original.root())]).toEqual([size, bytesToHex(rootOf(hashes.slice(0, size)))]);
        for (const hash of hashes.slice(size, size + originalGrows)) original.append(hash);
        expect([clone.size, bytesToHex(clone.root())]).toEqual([size + cloneGrows, bytesToHex(rootOf(hashes.slice(0, size + cloneGrows)))]);
      }),
      { numRuns: 50 },
    );
  });

  it('is unchanged after a refused append', () => {
    const tree = IncrementalTree.of(leaves(3));
    const before = bytesToHex(tree.root());
    expect(() => tree.append(new Uint8Array(33))).toThrow();
    expect([tree.size, bytesToHex(tree.root())]).toEqual([3, before]);
  });
});
