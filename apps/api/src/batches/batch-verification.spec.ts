import { createHash, randomBytes, randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { encodeMessageEntry, leafHash, rootOf } from '@tallystick/hashing';
import { type CheckedMessage, checkMessage, type StoredBatch, type StoredMessage, verifyBatch } from './batch-verification.js';

const sha256Hex = (data: Uint8Array) => createHash('sha256').update(data).digest('hex');

function storedMessage(leafIndex: number, payload = Buffer.from(`{"kwh":${leafIndex}}`)): StoredMessage {
  return {
    messageId: randomUUID(),
    leafIndex,
    tenantId: 'factory1',
    deviceId: 'SENSOR_001',
    topic: 'veep/factory1/line1/SENSOR_001/data',
    messageHash: sha256Hex(payload),
    payload,
    payloadSize: payload.length,
    nonce: randomBytes(16),
    receivedAt: new Date(1763712000000 + leafIndex),
    deviceSeq: null,
    deviceTimestamp: null,
    deviceSignature: null,
  };
}

function sealed(rows: StoredMessage[]): { batch: StoredBatch; messages: CheckedMessage[] } {
  const messages = rows.map(checkMessage);
  const leaves = messages.map((message) => message.leafHash!);
  const root = rootOf(leaves);
  const batchHash = Buffer.from(root).toString('hex');
  const batch = {
    tenantId: 'factory1',
    isSealed: true,
    batchHash,
    openRoot: root,
    messageCount: rows.length,
    leafHashes: Buffer.concat(leaves),
  };
  return { batch, messages };
}

describe('checkMessage', () => {
  it('makes the leaf of the entry, the signature included when there is one', () => {
    const row = storedMessage(0);
    const { messageId, deviceId, topic, messageHash, payloadSize } = row;
    const entry = {
      messageId,
      deviceId,
      topic,
      messageHash,
      payloadSize,
      receivedAtMs: 1763712000000,
      nonce: Buffer.from(row.nonce).toString('hex'),
    };
    const checked = (changes: Partial<StoredMessage>) => checkMessage({ ...row, ...changes }).leafHash;
    expect(checked({})).toEqual(leafHash(encodeMessageEntry(entry)));
    expect(checked({ deviceSeq: '7', deviceTimestamp: new Date(5) })).toEqual(leafHash(encodeMessageEntry(entry)));
    const signature = { seq: 7, tsMs: 5, sig: '5Kd3NB' };
    expect(checked({ deviceSeq: '7', deviceTimestamp: new Date(5), deviceSignature: '5Kd3NB' })).toEqual(
      leafHash(encodeMessageEntry({ ...entry, signature })),
    );
    expect(checked({ deviceSignature: '5Kd3NB' })).toBeUndefined();
  });

  it('takes any values that the columns can hold', () => {
    const anything = fc.record({
      payload: fc.uint8Array(),
      payloadSize: fc.integer(),
      messageHash: fc.string(),
      nonce: fc.uint8Array(),
      topic: fc.string(),
      deviceId: fc.string(),
      deviceSeq: fc.option(fc.bigInt().map(String)),
      deviceSignature: fc.option(fc.string()),
    });
    fc.assert(fc.property(anything, (values) => void checkMessage({ ...storedMessage(0), ...values })));
  });
});

describe('verifyBatch', () => {
  it('finds every batch valid that nothing was done to', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.boolean(), (size, isSealed) => {
        const { batch, messages } = sealed(Array.from({ length: size }, (_, at) => storedMessage(at)));
        expect(verifyBatch({ ...batch, isSealed, leafHashes: isSealed ? batch.leafHashes : null }, messages)).toMatchObject({
          isValid: true,
          differences: [],
          calculatedHash: batch.batchHash,
        });
      }),
    );
  });

  it('finds no batch valid that anything was done to, and names something', () => {
    const deed = fc.constantFrom<(rows: StoredMessage[], at: number) => StoredMessage[]>(
      (rows, at) => rows.toSpliced(at, 1),
      (rows, at) => rows.toSpliced(at, 0, { ...storedMessage(at), messageId: randomUUID() }),
      (rows, at) => rows.with(at, storedMessage(at)),
      (rows, at) => rows.with(at, { ...rows[at]!, payload: Buffer.from('x') }),
      (rows, at) => rows.with(at, { ...rows[at]!, receivedAt: new Date(1) }),
      (rows, at) => rows.with(at, { ...rows[at]!, nonce: Buffer.alloc(16) }),
      (rows, at) => rows.with(at, { ...rows[at]!, tenantId: 'thief' }),
      (rows, at) =>
        [...rows.slice(1), rows[0]!].map((row, leafIndex) => ({ ...row, leafIndex: at === 0 ? leafIndex : rows.length - leafIndex - 1 })),
    );
    fc.assert(
      fc.property(
        fc.integer({ min: 3, max: 20 }),
        fc.nat(),
        deed,
        fc.constantFrom('kept', 'given up', 'pending'),
        (size, nat, act, kind) => {
          const rows = Array.from({ length: size }, (_, at) => storedMessage(at));
          const { batch } = sealed(rows);
          const altered = act(rows, nat % size)
            .toSorted((a, b) => a.leafIndex - b.leafIndex)
            .map(checkMessage);
          const result = verifyBatch(
            { ...batch, isSealed: kind !== 'pending', leafHashes: kind === 'kept' ? batch.leafHashes : null },
            altered,
          );
          expect(result.isValid).toBe(false);
          if (kind === 'kept') expect(result.differences).not.toEqual([]);
        },
      ),
    );
  });

  it('does not trust leaf hashes that no longer make the root', () => {
    const { batch, messages } = sealed([0, 1, 2].map((at) => storedMessage(at)));
    for (const leafHashes of [Buffer.alloc(96), Buffer.alloc(95), Buffer.alloc(0), Buffer.alloc(128)]) {
      expect(verifyBatch({ ...batch, leafHashes }, messages)).toMatchObject({
        isValid: false,
        calculatedHash: batch.batchHash,
        differences: [{ reason: 'leaf_hashes_altered', messageId: null, leafIndex: null }],
      });
    }
  });
});
