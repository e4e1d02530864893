import fc from 'fast-check';
import { canonicalBytes, decodeBatchEntry, encodeBatchEntry, type BatchEntry, type JsonValue } from './index.js';

const hex = (digits: number) => fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: digits, maxLength: digits });

const batch: BatchEntry = { batchId: '3c566197-4942-4796-84b9-43d0593e4a5e', messageCount: 5, root: 'ab'.repeat(32), startMs: 1, endMs: 1 };
const batchMembers: { [member: string]: JsonValue } = {
  type: 'telemetry.batch/v1',
  batch_id: batch.batchId,
  message_count: 5,
  root: batch.root,
  start: 1,
  end: 1,
};

function without(members: { [member: string]: JsonValue }, name: string): { [member: string]: JsonValue } {
  return Object.fromEntries(Object.entries(members).filter(([member]) => member !== name));
}

describe('batch entry', () => {
  it('is canonical and read back', () => {
    const entry = fc
      .record({ batchId: fc.uuid(), messageCount: fc.maxSafeNat(), root: hex(64), startMs: fc.maxSafeNat(), endMs: fc.maxSafeNat() })
      .map((any) => ({
        ...any,
        messageCount: Math.max(1, any.messageCount),
        startMs: Math.min(any.startMs, any.endMs),
        endMs: Math.max(any.startMs, any.endMs),
      }));
    fc.assert(fc.property(entry, (any) => expect(decodeBatchEntry(encodeBatchEntry(any))).toEqual({ kind: 'ok', entry: any })));
  });

  it.each<[string, string, unknown]>([
    ['batchId', 'batch_id', 'x'],
    ['messageCount', 'message_count', 0],
    ['messageCount', 'message_count', 2.5],
    ['root', 'root', ''],
    ['startMs', 'start', 2],
    ['startMs', 'start', '1'],
    ['endMs', 'end', -1],
  ])('is refused by encoder and decoder alike: %s (%s) %p', (field, member, value) => {
    expect(() => encodeBatchEntry({ ...batch, [field]: value })).toThrow(expect.objectContaining({ code: 'invalid_entry' }));
    const bytes = canonicalBytes({ ...batchMembers, [member]: value as JsonValue });
    expect(decodeBatchEntry(bytes)).toEqual({ kind: 'malformed', reason: expect.stringContaining(member) });
  });

  it('has exactly its members', () => {
    expect(decodeBatchEntry(canonicalBytes(batchMembers))).toEqual({ kind: 'ok', entry: batch });
    for (const name of Object.keys(batchMembers)) {
      expect(decodeBatchEntry(canonicalBytes(without(batchMembers, name))).kind).toBe('malformed');
    }
    expect(decodeBatchEntry(canonicalBytes({ ...batchMembers, version: null })).kind).toBe('malformed');
  });

  it('is told from a message entry by its type', () => {
    const bytes = canonicalBytes({ ...batchMembers, type: 'telemetry.message/v1' });
    expect(decodeBatchEntry(bytes)).toEqual({ kind: 'malformed', reason: 'type is not telemetry.batch/v1' });
  });

  it.each(['null', '[]', '"x"', '{}', '{"__proto__":{"type":"telemetry.batch/v1"}}', '{', ''])('is refused: %p', (json) => {
    expect(decodeBatchEntry(new TextEncoder().encode(json)).kind).toBe('malformed');
  });
});
