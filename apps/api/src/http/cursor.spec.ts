import fc from 'fast-check';
import { type CursorKey, openCursor, sealCursor } from './cursor.js';

const kinds: CursorKey[] = ['time', 'uuid'];
const place = { keys: ['1763712000000', '019ab5e8-2c00-7000-8000-000000000001'], nowMs: 1763712345678 };
const filter = { tenantId: 'factory1', from: new Date(0), to: undefined };
const raw = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

describe('cursors', () => {
  it('opens for the list and filter that it was made for', () => {
    const cursor = sealCursor('batches', filter, place);
    expect(openCursor(cursor, 'batches', filter, kinds)).toEqual(place);
    expect(openCursor(cursor, 'batches', { from: new Date(0), tenantId: 'factory1' }, kinds)).toEqual(place);
    expect(cursor).toMatch(/^[A-Za-z0-9_-]+$/);
  });

  it.each([
    ['another filter', 'batches', { ...filter, tenantId: 'factory2' }],
    ['a wider filter', 'batches', { from: new Date(0) }],
    ['another time', 'batches', { ...filter, from: new Date(1) }],
    ['another list', 'messages', filter],
  ])('does not open for %s', (_, list, other) => {
    expect(openCursor(sealCursor('batches', filter, place), list, other, kinds)).toBeUndefined();
  });

  it('takes only keys of the form that the columns have', () => {
    const hash = (JSON.parse(Buffer.from(sealCursor('batches', {}, place), 'base64url').toString()) as string[])[1];
    const open = (keys: unknown[], nowMs: unknown = 1) => openCursor(raw([1, hash, nowMs, ...keys]), 'batches', {}, kinds);
    expect(open(place.keys)).toBeDefined();
    for (const keys of [
      ['1', "x' OR 1=1"],
      ['9999999999999999', place.keys[1]],
      ['-1', place.keys[1]],
      ['1e3', place.keys[1]],
      [1, place.keys[1]],
      [place.keys[0]],
      [...place.keys, 'more'],
      [null, null],
      [],
    ]) {
      expect(open(keys)).toBeUndefined();
    }
    for (const nowMs of [-1, 1.5, '1', null, 1e300]) expect(open(place.keys, nowMs)).toBeUndefined();
  });

  it('holds 64-bit identifiers and the longest client id beside the longest topic', () => {
    const longest = '"'.repeat(1_200);
    const keys = [longest, longest, '9223372036854775807'];
    const mixed: CursorKey[] = ['text', 'text', 'bigint'];
    expect(openCursor(sealCursor('list', {}, { keys, nowMs: 1 }), 'list', {}, mixed)?.keys).toEqual(keys);
    for (const id of ['9223372036854775808', '-1', '1e3', '']) {
      expect(openCursor(sealCursor('list', {}, { keys: [id], nowMs: 1 }), 'list', {}, ['bigint'])).toBeUndefined();
    }
  });

  it('never throws, whatever it is given', () => {
    const garbled = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.base64String(),
      fc.json().map((text) => Buffer.from(text).toString('base64url')),
    );
    fc.assert(fc.property(garbled, (text) => expect(openCursor(text, 'batches', {}, kinds)).toBeUndefined()));
    expect(openCursor('A'.repeat(1_000_000), 'batches', {}, kinds)).toBeUndefined();
  });
});
