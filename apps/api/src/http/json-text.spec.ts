import fc from 'fast-check';
import { JsonText, stringify } from './json-text.js';

describe('stringify', () => {
  it('keeps what a double cannot hold', () => {
    const text = stringify({ items: [{ rawData: new JsonText('{"n": 1e400, "id": 12345678901234567890}') }, { rawData: null }] });
    expect(text).toBe('{"items":[{"rawData":{"n": 1e400, "id": 12345678901234567890}},{"rawData":null}]}');
  });

  it('is JSON.stringify for everything else', () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => expect(stringify(value)).toBe(JSON.stringify(value))));
    expect(stringify({ at: new Date(0) })).toBe('{"at":"1970-01-01T00:00:00.000Z"}');
  });

  it('inserts any JSON verbatim, replacement patterns of String.replace included', () => {
    fc.assert(fc.property(fc.json(), (text) => expect(stringify([new JsonText(text), new JsonText(text)])).toBe(`[${text},${text}]`)));
    expect(stringify([new JsonText(`"$& $1 $'"`)])).toBe(`["$& $1 $'"]`);
  });
});
