import { readdirSync, readFileSync } from 'node:fs';
import {
  base64ToBytes,
  decodeBatchEntry,
  decodeMessageEntry,
  encodeBatchEntry,
  encodeMessageEntry,
  hexToBytes,
  IncrementalTree,
  leafHash,
  messageHash,
  messageLeafHash,
  rootOf,
  bytesToHex,
  verifyInclusion,
} from './index.js';

const folder = new URL('../testdata/worked-example/', import.meta.url);

interface BundleVector {
  ok: boolean;
  bundle: {
    message: { entry: string; payload: string | null };
    batch: { entry: string; leaf_index: number; path: string[] };
    log: { index: number; path: string[]; checkpoint: string };
  };
}

const bundles = readdirSync(folder)
  .filter((name) => name.endsWith('.bundle.json'))
  .map((name) => ({
    name: name.replace('.bundle.json', ''),
    vector: JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as BundleVector,
  }));

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the vector is not what it should be');
  return value;
}

describe('worked example: entries.txt', () => {
  const lines = readFileSync(new URL('entries.txt', folder), 'utf8').split('\n');
  const messageLines = lines.slice(0, 5).map((line) => new TextEncoder().encode(line));
  const batchLine = new TextEncoder().encode(lines[5]);

  it('is byte-equal when its messages are decoded and encoded again', () => {
    for (const line of messageLines) {
      const decoded = decodeMessageEntry(line);
      if (decoded.kind === 'malformed') throw new Error(decoded.reason);
      expect(encodeMessageEntry(decoded.entry)).toEqual(line);
      expect(messageLeafHash(decoded.entry)).toEqual(leafHash(line));
    }
  });

  it('is byte-equal when its batch is decoded and encoded again, and the root is that of its messages', () => {
    const decoded = decodeBatchEntry(batchLine);
    if (decoded.kind === 'malformed') throw new Error(decoded.reason);
    expect(encodeBatchEntry(decoded.entry)).toEqual(batchLine);
    const leafHashes = messageLines.map((line) => leafHash(line));
    expect(decoded.entry.messageCount).toBe(leafHashes.length);
    expect(bytesToHex(rootOf(leafHashes))).toBe(decoded.entry.root);
    expect(bytesToHex(IncrementalTree.of(leafHashes).root())).toBe(decoded.entry.root);
  });
});

/** The steps of a bundle's check that need no key: what is wrong, or nothing. The checkpoint's signature is taken for granted here. */
function faultOf({ bundle: { message, batch, log } }: BundleVector): string | undefined {
  const entryBytes = required(base64ToBytes(message.entry));
  const entry = decodeMessageEntry(entryBytes);
  if (entry.kind === 'malformed') return `message entry: ${entry.reason}`;
  if (message.payload !== null) {
    const payload = required(base64ToBytes(message.payload));
    if (payload.length !== entry.entry.payloadSize || messageHash(payload) !== entry.entry.messageHash) return 'payload';
  }
  const batchBytes = required(base64ToBytes(batch.entry));
  const batchEntry = decodeBatchEntry(batchBytes);
  if (batchEntry.kind === 'malformed') return `batch entry: ${batchEntry.reason}`;
  const inBatch = verifyInclusion({
    leafHash: leafHash(entryBytes),
    leafIndex: batch.leaf_index,
    treeSize: batchEntry.entry.messageCount,
    path: batch.path.map((hash) => required(base64ToBytes(hash))),
    root: required(hexToBytes(batchEntry.entry.root)),
  });
  if (!inBatch.valid) return `batch path: ${inBatch.reason}`;
  const [, size, root] = log.checkpoint.split('\n');
  const inLog = verifyInclusion({
    leafHash: leafHash(batchBytes),
    leafIndex: log.index,
    treeSize: Number(size),
    path: log.path.map((hash) => required(base64ToBytes(hash))),
    root: required(base64ToBytes(required(root))),
  });
  return inLog.valid ? undefined : `log path: ${inLog.reason}`;
}

describe('worked example: bundles', () => {
  it('are all there', () => {
    expect(bundles).toHaveLength(21);
  });

  it.each(bundles.filter(({ vector }) => vector.ok))('$name holds', ({ vector }) => {
    expect(faultOf(vector)).toBeUndefined();
  });

  const refused: Record<string, string> = {
    'batch-entry-count_fail': 'log path: path does not lead to the root',
    'batch-of-another-index_fail': 'log path: path does not lead to the root',
    'entry-not-canonical_fail': 'message entry: not in canonical form (RFC 8785)',
    'path-short_fail': 'batch path: path has too few elements',
    'payload-changed_fail': 'payload',
    'payload-reformatted_fail': 'payload',
    'wrong-index_fail': 'batch path: path does not lead to the root',
  };
  // Their trees are right: refused by the signature of the checkpoint, the device's key or the anchor, once those are built.
  const refusedLater = [
    'anchor-other-signer_fail',
    'anchor-tx-tampered_fail',
    'checkpoint-other-key_fail',
    'device-key-other_fail',
    'fork_fail',
    'unsigned-but-key-required_fail',
  ];

  it.each(bundles.filter(({ vector }) => !vector.ok))('$name is refused, or left to the checks that need keys', ({ name, vector }) => {
    expect(faultOf(vector)).toBe(refusedLater.includes(name) ? undefined : required(refused[name]));
  });
});
