import { message } from '../../test/messages.js';
import { copyRow, MESSAGE_COLUMNS } from './copy-rows.js';

function rowOf(payload: string, topic = 'veep/t/s/d/data'): string[] {
  const delivery = { topic, retained: true, receivedAtMs: 1_795_300_000_004 };
  const accepted = { ...message('t', payload, delivery), deviceTimestampMs: 0 };
  const line = copyRow({ message: accepted, batchId: 'b', leafIndex: 3 });
  expect(line.endsWith('\n')).toBe(true);
  expect(line.indexOf('\n')).toBe(line.length - 1);
  return line.slice(0, -1).split('\t');
}

describe('copyRow', () => {
  it('has a field for every column', () => {
    expect(rowOf('{}')).toHaveLength(MESSAGE_COLUMNS.split(', ').length);
  });

  it('escapes what would end a field or a row', () => {
    const fields = rowOf('{"a":\t"x\\n",\r\n"b":"\\\\."}', 'veep/t\t/s/d/data');
    expect(fields[6]).toBe('veep/t\\t/s/d/data');
    expect(fields[8]).toBe('{"a":\\t"x\\\\n",\\r\\n"b":"\\\\\\\\."}');
  });

  it('writes bytes as hex, times in UTC, nulls as \\N', () => {
    const fields = rowOf('1');
    expect(fields[10]).toBe('\\\\x31');
    expect(fields[13]).toBe('2026-11-21T22:26:40.004Z');
    expect(fields[14]).toBe('1970-01-01T00:00:00.000Z');
    expect([fields[9], fields[17]]).toEqual(['\\N', '\\N']);
  });
});
