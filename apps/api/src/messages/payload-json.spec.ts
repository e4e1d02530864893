import fc from 'fast-check';
import { payloadJson } from './payload-json.js';

describe('payloadJson', () => {
  it.each(['{"n": 1e400, "n": 2}', ' [1.10]\n', 'null', '"é😀"', '1e131071'])('gives %j as it is', (text) => {
    expect(payloadJson(Buffer.from(text))?.text).toBe(text);
  });

  it.each([[''], ['{'], ['NaN'], ['{"a":1}}'], ['\ufeff{}'], ['\xff']])('gives null for %j', (text) => {
    expect(payloadJson(Buffer.from(text, text === '\xff' ? 'latin1' : 'utf8'))).toBeNull();
  });

  it('never throws and never gives what is no JSON', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        const json = payloadJson(bytes);
        if (json) JSON.parse(json.text);
      }),
    );
  });
});
