import fc from 'fast-check';
import { base64ToBytes, bytesToBase64, bytesToHex, concatBytes, equalBytes, hexToBytes } from './index.js';

describe('hex', () => {
  it('round-trips any 32 bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
        expect(bytesToHex(bytes)).toBe(Buffer.from(bytes).toString('hex'));
        expect(hexToBytes(bytesToHex(bytes))).toEqual(bytes);
      }),
    );
  });

  it.each([
    ['upper case', 'AB'.repeat(32)],
    ['too short', 'ab'.repeat(31)],
    ['too long', 'ab'.repeat(33)],
    ['no hex digit', `${'ab'.repeat(31)}0x`],
    ['a sign', `${'ab'.repeat(31)}+1`],
    ['a space', `${'ab'.repeat(31)} 1`],
    ['a line end', `${'ab'.repeat(31)}a\n`],
    ['other digits', `${'ab'.repeat(31)}١١`],
  ])('refuses %s', (_, text) => {
    expect(hexToBytes(text)).toBeUndefined();
  });

  it('takes another size when told so', () => {
    expect(hexToBytes('00ff', 2)).toEqual(new Uint8Array([0, 255]));
    expect(hexToBytes('', 0)).toEqual(new Uint8Array(0));
    expect(hexToBytes('00ff')).toBeUndefined();
  });
});

describe('base64', () => {
  it('agrees with Node and round-trips', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(bytesToBase64(bytes)).toBe(Buffer.from(bytes).toString('base64'));
        expect(base64ToBytes(bytesToBase64(bytes))).toEqual(bytes);
      }),
    );
  });

  it.each([
    ['no padding', 'AA'],
    ['half the padding', 'AA='],
    ['too much padding', 'AAA=='],
    ['stray pad bits', 'AB=='],
    ['stray pad bits (one =)', 'AAB='],
    ['a space', 'AA A'],
    ['a line end', 'AAAA\n'],
    ['the URL alphabet', '-_-_'],
    ['an impossible length', 'AAAAA'],
    ['padding inside', 'AA==AAAA'],
    ['a character beyond Latin-1', 'AA€A'],
  ])('refuses %s', (_, text) => {
    expect(base64ToBytes(text)).toBeUndefined();
  });
});

describe('byte arrays', () => {
  it('compares by content and length', () => {
    expect(equalBytes(new Uint8Array([1, 2]), Buffer.from([1, 2]))).toBe(true);
    expect(equalBytes(new Uint8Array([1, 2]), new Uint8Array([1, 3]))).toBe(false);
    expect(equalBytes(new Uint8Array([1, 2]), new Uint8Array([1, 2, 0]))).toBe(false);
  });

  it('concatenates', () => {
    expect(concatBytes(new Uint8Array([1]), new Uint8Array(0), new Uint8Array([2, 3]))).toEqual(new Uint8Array([1, 2, 3]));
  });
});
