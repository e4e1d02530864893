import { createTestDatabase } from '@tallystick/testing';
import fc from 'fast-check';
import pg from 'pg';

describe('json_text', () => {
  let sql: pg.Client;
  beforeAll(async () => {
    const { url } = await createTestDatabase();
    sql = new pg.Client({ connectionString: url });
    await sql.connect();
  });
  afterAll(() => sql.end());

  const jsonText = async (bytes: Uint8Array) => {
    const { rows } = await sql.query<{ text: string | null }>('SELECT json_text($1) AS text', [Buffer.from(bytes)]);
    return rows[0]!.text;
  };

  it.each(['{"n": 1e400, "n": 2}', ' [1.10]\n', 'null', '"é😀"', '1e131071', '"\\ud800"', '"\\u0000"'])(
    'gives %j as it is',
    async (text) => {
      expect(await jsonText(Buffer.from(text))).toBe(text);
    },
  );

  it.each([
    ['nothing', ''],
    ['half of it', '{'],
    ['what JSON has not', 'NaN'],
    ['more than it', '{"a":1}}'],
    ['a byte order mark', '\ufeff{}'],
    ['a zero byte', '"\0"'],
    ['a control character', '"\u0001"'],
    ['bytes that are no UTF-8', Buffer.from('"\xff"', 'latin1')],
    ['half a character', Buffer.from('"é"').subarray(0, 2)],
    ['what nests deeper than the stack', '['.repeat(200_000) + ']'.repeat(200_000)],
  ])('gives NULL for %s', async (_, bytes) => {
    expect(await jsonText(Buffer.from(bytes))).toBeNull();
  });

  it('never throws, and gives what JSON.parse reads', async () => {
    const bytes = fc.oneof(
      fc.uint8Array(),
      fc.json().map((text) => Buffer.from(text)),
    );
    await fc.assert(
      fc.asyncProperty(bytes, async (payload) => {
        const text = await jsonText(payload);
        expect(text === null).toBe(!isJson(payload));
        if (text !== null) expect(Buffer.from(text)).toEqual(Buffer.from(payload));
      }),
    );
  });
});

function isJson(payload: Uint8Array): boolean {
  try {
    JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(payload));
    return true;
  } catch {
    return false;
  }
}
