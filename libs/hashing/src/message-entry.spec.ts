import { createHash } from 'node:crypto';
import fc from 'fast-check';
import {
  canonicalBytes,
  decodeMessageEntry,
  encodeBatchEntry,
  encodeMessageEntry,
  leafHash,
  messageHash,
  messageLeafHash,
  type JsonValue,
  type MessageEntry,
} from './index.js';

const hex = (digits: number) => fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: digits, maxLength: digits });
const base58 = fc.string({
  unit: fc.constantFrom(...'123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'),
  minLength: 1,
  maxLength: 88,
});
const text = fc.oneof(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'binary' }));
const signature = fc.record({ seq: fc.maxSafeNat(), tsMs: fc.maxSafeNat(), sig: base58 });
const messageEntry: fc.Arbitrary<MessageEntry> = fc.record(
  {
    messageId: fc.uuid(),
    deviceId: text,
    topic: text,
    receivedAtMs: fc.maxSafeNat(),
    payloadSize: fc.maxSafeNat(),
    messageHash: hex(64),
    nonce: hex(32),
    signature,
  },
  { requiredKeys: ['messageId', 'deviceId', 'topic', 'receivedAtMs', 'payloadSize', 'messageHash', 'nonce'] },
);

/** The members of telemetry.message/v1, unsorted. */
function messageMembers({ signature, ...entry }: MessageEntry): { [member: string]: JsonValue } {
  return {
    type: 'telemetry.message/v1',
    message_id: entry.messageId,
    device_id: entry.deviceId,
    topic: entry.topic,
    received_at: entry.receivedAtMs,
    payload_size: entry.payloadSize,
    message_hash: entry.messageHash,
    nonce: entry.nonce,
    ...(signature && { device_seq: signature.seq, device_ts: signature.tsMs, device_sig: signature.sig }),
  };
}

function without(members: { [member: string]: JsonValue }, name: string): { [member: string]: JsonValue } {
  return Object.fromEntries(Object.entries(members).filter(([member]) => member !== name));
}

const example: MessageEntry = {
  messageId: '153812ae-5fea-4b73-8011-bf28bd7cea93',
  deviceId: 'dev-3',
  topic: 'plant/7/dev-3/telemetry',
  receivedAtMs: 1795300000003,
  payloadSize: 55,
  messageHash: 'c8199d3bfa24ad22abcb96bced20416c2868781aa6f8b6feb7ece8d4c663f624',
  nonce: '8721d664ef60096aa559e1aa6c72caf1',
  signature: { seq: 44, tsMs: 1795299999883, sig: '2SS8QPKkmWa8ucX2mwiCA1' },
};

describe('message entry', () => {
  it('is written by hand exactly as canonicalJson writes it, and read back', () => {
    fc.assert(
      fc.property(messageEntry, (entry) => {
        const bytes = encodeMessageEntry(entry);
        expect(bytes).toEqual(canonicalBytes(messageMembers(entry)));
        expect(decodeMessageEntry(bytes)).toEqual({ kind: 'ok', entry });
      }),
    );
  });

  it('has the leaf hash of its bytes, with any hash function', () => {
    const nativeSha256 = (data: Uint8Array) => createHash('sha256').update(data).digest();
    fc.assert(
      fc.property(messageEntry, (entry) => {
        const expected = leafHash(encodeMessageEntry(entry));
        expect(messageLeafHash(entry)).toEqual(expected);
        expect(new Uint8Array(messageLeafHash(entry, nativeSha256))).toEqual(expected);
      }),
    );
  });

  it('is not changed by the next one that is encoded, nor is its length bound', () => {
    const first = encodeMessageEntry(example);
    encodeMessageEntry({ ...example, deviceId: 'other' });
    expect(first).toEqual(canonicalBytes(messageMembers(example)));
    const long = { ...example, topic: '€'.repeat(20_000) };
    expect(messageHash(encodeMessageEntry(long))).toBe(messageHash(canonicalBytes(messageMembers(long))));
    expect(encodeMessageEntry(example)).toEqual(first);
  });

  const faults: [string, string, unknown][] = [
    ['messageId', 'message_id', example.messageId.toUpperCase()],
    ['messageId', 'message_id', `${example.messageId}\n`],
    ['messageId', 'message_id', example.messageId.replaceAll('-', '')],
    ['messageId', 'message_id', 7],
    ['deviceId', 'device_id', 7],
    ['deviceId', 'device_id', null],
    ['topic', 'topic', ['a']],
    ['receivedAtMs', 'received_at', -1],
    ['receivedAtMs', 'received_at', 1.5],
    ['receivedAtMs', 'received_at', 2 ** 53],
    ['receivedAtMs', 'received_at', '1'],
    ['payloadSize', 'payload_size', -1],
    ['payloadSize', 'payload_size', null],
    ['messageHash', 'message_hash', 'ab'],
    ['messageHash', 'message_hash', example.messageHash.toUpperCase()],
    ['nonce', 'nonce', 'ab'.repeat(32)],
    ['nonce', 'nonce', 'zz'.repeat(16)],
  ];

  it.each(faults)('is refused by encoder and decoder alike: %s (%s) %p', (field, member, value) => {
    const refusal: unknown = expect.objectContaining({ code: 'invalid_entry', message: expect.stringContaining(member) });
    expect(() => encodeMessageEntry({ ...example, [field]: value })).toThrow(refusal as Error);
    const bytes = canonicalBytes({ ...messageMembers(example), [member]: value as JsonValue });
    expect(decodeMessageEntry(bytes)).toEqual({ kind: 'malformed', reason: expect.stringContaining(member) });
  });

  it.each<[string, string, unknown]>([
    ['seq', 'device_seq', -1],
    ['seq', 'device_seq', '44'],
    ['tsMs', 'device_ts', 0.5],
    ['sig', 'device_sig', ''],
    ['sig', 'device_sig', 'O0Il'],
    ['sig', 'device_sig', '1'.repeat(89)],
    ['sig', 'device_sig', 5],
  ])('is refused with a signature of the wrong shape: %s (%s) %p', (field, member, value) => {
    const signed = { ...example, signature: { ...example.signature!, [field]: value } };
    expect(() => messageLeafHash(signed)).toThrow(expect.objectContaining({ code: 'invalid_entry' }));
    const bytes = canonicalBytes({ ...messageMembers(example), [member]: value as JsonValue });
    expect(decodeMessageEntry(bytes)).toEqual({ kind: 'malformed', reason: expect.stringContaining(member) });
  });

  it('is refused by the encoder when a string cannot be UTF-8', () => {
    expect(() => encodeMessageEntry({ ...example, topic: 'a/\ud800/b' })).toThrow(expect.objectContaining({ code: 'invalid_entry' }));
  });

  it('has exactly its members', () => {
    const members = messageMembers(example);
    for (const name of Object.keys(members)) {
      expect(decodeMessageEntry(canonicalBytes(without(members, name))).kind).toBe('malformed');
    }
    expect(decodeMessageEntry(canonicalBytes({ ...members, version: 1 })).kind).toBe('malformed');
    expect(decodeMessageEntry(canonicalBytes({ ...members, type: 'telemetry.message/v2' })).kind).toBe('malformed');
    const unsigned = messageMembers({ ...example, signature: undefined });
    expect(decodeMessageEntry(canonicalBytes({ ...unsigned, device_seq: 44 })).kind).toBe('malformed');
  });

  it('is told from a batch entry by its type', () => {
    const batch = encodeBatchEntry({ batchId: example.messageId, messageCount: 1, root: example.messageHash, startMs: 0, endMs: 0 });
    expect(decodeMessageEntry(batch)).toEqual({ kind: 'malformed', reason: 'type is not telemetry.message/v1' });
  });

  it.each(['null', '[]', '"x"', '{}', '{"__proto__":{"type":"telemetry.message/v1"}}', '{', ''])('is refused: %p', (json) => {
    expect(decodeMessageEntry(new TextEncoder().encode(json)).kind).toBe('malformed');
  });

  it('is refused with duplicate members, trailing data or another number form', () => {
    const json = new TextDecoder().decode(encodeMessageEntry(example));
    for (const altered of [`${json} `, json.replace('{', '{"device_id":"dev-3",'), json.replace(':44,', ':44.0,')]) {
      expect(decodeMessageEntry(new TextEncoder().encode(altered)).kind).toBe('malformed');
    }
  });
});

describe('messageHash', () => {
  it('is what sha256sum prints', () => {
    expect(messageHash(new Uint8Array(0))).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
    expect(messageHash(new TextEncoder().encode('abc'))).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  });
});
