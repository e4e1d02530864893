import fc from 'fast-check';
import { scanJson } from './json-scan.js';

const scan = (text: string, maxDepth = 64) => scanJson(Buffer.from(text), maxDepth);

describe('scanJson', () => {
  it.each([
    ['23.5', 0],
    ['{}', 1],
    ['[[],{"a":[]}]', 3],
    ['"[[[["', 0],
    ['"\\"[[" ', 0],
    ['{"a":"\\\\","b":[1]}', 2],
  ])('depth of %s is %i', (text, depth) => expect(scan(text).depth).toBe(depth));

  it('stops at the limit, however deep the text goes', () => {
    expect(scan('['.repeat(1_000_000)).depth).toBe(65);
  });

  it('measures what JSON.stringify nests', () => {
    const depthOf = (value: unknown): number =>
      typeof value === 'object' && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0;
    fc.assert(fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => scan(JSON.stringify(value)).depth === depthOf(value)));
  });

  it.each([
    '{"z":"\\u0000"}',
    '{"\\u0000":1}',
    '"a\\\\\\u0000"',
    '"\\ud800"',
    '"\\udc00"',
    '"\\ud800\\ud800"',
    '"\\ud800x"',
    '"\\ud800\\n"',
    '"\\ud83d\\ude00\\ude00"',
    '1e1000000',
    '-1E+20000',
  ])('jsonb cannot hold %s', (text) => expect(scan(text).jsonbProblem).toEqual(expect.any(String)));

  it('jsonb cannot hold a number of more digits than numeric has', () => {
    expect(scan('1'.repeat(140_000)).jsonbProblem).toMatch(/number/);
    expect(scan(`[1,0.${'0'.repeat(20_000)}1]`).jsonbProblem).toMatch(/number/);
  });

  it.each(['"\\\\u0000"', '"\\ud83d\\ude00"', '"\\uD83D\\uDE00 \\u00e9"', '1e400', '-0.0', '"1e99999"', '{"hash":"4e123456"}', '[1,2,3]'])(
    'jsonb holds %s',
    (text) => expect(scan(text).jsonbProblem).toBeUndefined(),
  );
});
