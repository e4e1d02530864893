import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { canonicalBytes, canonicalJson, isCanonical, parseCanonical, type JsonValue } from './index.js';

const testdata = (path: string) => readFileSync(new URL(`../testdata/jcs/${path}`, import.meta.url), 'utf8');
const bytesOf = (text: string) => new TextEncoder().encode(text);

describe('RFC 8785 vectors', () => {
  it.each(['arrays', 'french', 'structures'])('%s', (name) => {
    const output = testdata(`output/${name}.json`);
    expect(canonicalJson(JSON.parse(testdata(`input/${name}.json`)) as JsonValue)).toBe(output);
    expect(isCanonical(bytesOf(output))).toBe(true);
    expect(isCanonical(bytesOf(testdata(`input/${name}.json`)))).toBe(false);
  });

  it('writes 1000 numbers as ECMAScript does', () => {
    const lines = testdata('es6-numbers-1000.txt').trimEnd().split('\n');
    expect(lines).toHaveLength(1000);
    for (const line of lines) {
      const [hex, text] = line.split(',') as [string, string];
      const number = Buffer.from(hex.padStart(16, '0'), 'hex').readDoubleBE();
      expect(canonicalJson(number)).toBe(text);
    }
  });

  it('sorts by UTF-16 code units, not by code points (section 3.2.3)', () => {
    const value = { '€': 'Euro Sign', '\r': 'Carriage Return', '\ufb33': 'Hebrew', '1': 'One', '😀': 'Emoji', '\u0080': 'Control', ö: 'o' };
    expect(
      Object.values(
        JSON.parse(
          `[${canonicalJson(value)
            .replace(/[{}]/g, '')
            .replace(/"[^"]*":/g, '')}]`,
        ) as string[],
      ),
    ).toEqual(['Carriage Return', 'One', 'Control', 'o', 'Euro Sign', 'Emoji', 'Hebrew']);
  });

  it('escapes strings as section 3.2.2.2 says', () => {
    expect(canonicalJson('\u20ac$\u000F\u000aA\'\u0042\u0022\u005c\\"\u002f\u007f\u2028')).toBe(
      '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/\u007f\u2028"',
    );
  });
});

describe('canonicalJson', () => {
  it('is idempotent and keeps the value', () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
        const text = canonicalJson(value as JsonValue);
        expect(canonicalJson(JSON.parse(text) as JsonValue)).toBe(text);
        // -0 is written as 0 (section 3.2.2.3), as JSON.stringify does.
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
        expect(parseCanonical(canonicalBytes(value as JsonValue))).toEqual({ kind: 'ok', value: JSON.parse(text) as unknown });
      }),
    );
  });

  const cyclic: unknown[] = [];
  cyclic.push({ cyclic });
  const nested = (levels: number) => JSON.parse('['.repeat(levels) + ']'.repeat(levels)) as JsonValue;

  it.each<[string, unknown, string]>([
    ['NaN', NaN, 'not_finite'],
    ['Infinity inside', [1, -Infinity], 'not_finite'],
    ['a lone high surrogate', 'a\ud800b', 'lone_surrogate'],
    ['a lone low surrogate', '\udc00', 'lone_surrogate'],
    ['a reversed pair', '\udc00\ud800', 'lone_surrogate'],
    ['a lone surrogate in a name', { '\ud800': 1 }, 'lone_surrogate'],
    ['undefined', undefined, 'not_json'],
    ['an undefined member', { a: undefined }, 'not_json'],
    ['a hole', new Array(1), 'not_json'],
    ['a bigint', 1n, 'not_json'],
    ['a symbol', Symbol('s'), 'not_json'],
    ['a function', () => 1, 'not_json'],
    ['a Date', new Date(0), 'not_json'],
    ['a Map', new Map(), 'not_json'],
    ['bytes', new Uint8Array(2), 'not_json'],
    ['a cycle', cyclic, 'cycle'],
    ['65 levels', nested(65), 'too_deep'],
  ])('throws for %s', (_, value, code) => {
    expect(() => canonicalJson(value as JsonValue)).toThrow(expect.objectContaining({ name: 'HashingError', code }));
  });

  it('takes 64 levels, the same object twice, and objects without prototype', () => {
    const shared = { a: 1 };
    expect(canonicalJson(nested(64))).toHaveLength(128);
    expect(canonicalJson([shared, shared])).toBe('[{"a":1},{"a":1}]');
    expect(canonicalJson(Object.assign(Object.create(null) as object, shared) as JsonValue)).toBe('{"a":1}');
  });
});

describe('parseCanonical', () => {
  it.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array(0)],
    ['a byte order mark', new Uint8Array([0xef, 0xbb, 0xbf, 0x7b, 0x7d])],
    ['a wrong UTF-8 byte', new Uint8Array([0x22, 0xff, 0x22])],
    ['an overlong UTF-8 form', new Uint8Array([0x22, 0xc0, 0x80, 0x22])],
    ['a surrogate in UTF-8', new Uint8Array([0x22, 0xed, 0xa0, 0x80, 0x22])],
    ['UTF-16', new Uint8Array([0x7b, 0, 0x7d, 0])],
    ['a space', bytesOf('{"a": 1}')],
    ['a line end', bytesOf('{}\n')],
    ['trailing data', bytesOf('{}{}')],
    ['a trailing NUL', bytesOf('{}\0')],
    ['duplicate members', bytesOf('{"a":1,"a":1}')],
    ['duplicate members by escape', bytesOf('{"a":1,"\\u0061":1}')],
    ['unsorted members', bytesOf('{"b":1,"a":1}')],
    ['1.0', bytesOf('[1.0]')],
    ['1e3', bytesOf('[1e3]')],
    ['-0', bytesOf('[-0]')],
    ['an integer beyond 2^53', bytesOf('[9007199254740993]')],
    ['a number beyond the range', bytesOf('[1e400]')],
    ['a needless escape', bytesOf('"\\u0041"')],
    ['an escaped slash', bytesOf('"\\/"')],
    ['upper-case escape digits', bytesOf('"\\u001F"')],
    ['an escaped lone surrogate', bytesOf('"\\ud800"')],
    ['a raw control character', bytesOf('"\u0001"')],
    ['not JSON', bytesOf('{a:1}')],
    ['100,000 levels', bytesOf('['.repeat(100_000) + ']'.repeat(100_000))],
    ['an unclosed bracket, 100,000 times', bytesOf('['.repeat(100_000))],
  ])('refuses %s', (_, bytes) => {
    expect(parseCanonical(bytes)).toEqual({ kind: 'malformed', reason: expect.any(String) });
    expect(isCanonical(bytes)).toBe(false);
  });

  it('keeps a member named __proto__ a member', () => {
    const parsed = parseCanonical(bytesOf('{"__proto__":{"a":1}}'));
    expect(parsed.kind === 'ok' && Object.keys(parsed.value as object)).toEqual(['__proto__']);
  });

  it('never throws', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.json().map(bytesOf)), (bytes) => {
        const parsed = parseCanonical(bytes);
        if (parsed.kind === 'ok') expect(canonicalBytes(parsed.value)).toEqual(new Uint8Array(bytes));
      }),
    );
  });
});
