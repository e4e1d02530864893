import fc from 'fast-check';
import { newApiKey, newSetupToken, parseApiKey, parseSetupToken } from './api-key.js';
import { randomName } from './secret-text.js';

describe('an API key', () => {
  it('has its form, is never the same, and reads back', () => {
    const key = newApiKey();
    expect(key.text).toMatch(/^tly_[0-9A-Za-z]{12}_[0-9A-Za-z_-]{43}[0-9A-Za-z]{6}$/);
    expect(parseApiKey(key.text)).toEqual({ keyId: key.keyId, secretHash: key.secretHash });
    expect(new Set(Array.from({ length: 1000 }, () => newApiKey().keyId)).size).toBe(1000);
  });

  it('is refused with any character changed, missing or added', () => {
    const { text } = newApiKey();
    for (let at = 0; at < text.length; at++) {
      const other = text[at] === 'x' ? 'y' : 'x';
      expect(parseApiKey(text.slice(0, at) + other + text.slice(at + 1))).toBeUndefined();
      expect(parseApiKey(text.slice(0, at) + text.slice(at + 1))).toBeUndefined();
    }
    expect(parseApiKey(`${text}\n`)).toBeUndefined();
    expect(parseApiKey(` ${text}`)).toBeUndefined();
  });

  it('is no setup token, and the other way round', () => {
    const token = newSetupToken();
    expect(parseSetupToken(token.text)).toEqual(token.hash);
    expect(parseApiKey(token.text)).toBeUndefined();
    expect(parseSetupToken(newApiKey().text)).toBeUndefined();
  });

  it('never throws, whatever is presented', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(parseApiKey(text)).toBeUndefined();
        expect(parseApiKey(`tly_${text}`)).toBeUndefined();
        expect(parseSetupToken(text)).toBeUndefined();
      }),
    );
  });
});

describe('a random name', () => {
  it('uses every letter and digit about as often', () => {
    const counts = new Map<string, number>();
    for (const letter of randomName(62_000)) counts.set(letter, (counts.get(letter) ?? 0) + 1);
    expect(counts.size).toBe(62);
    expect(Math.min(...counts.values())).toBeGreaterThan(800);
    expect(Math.max(...counts.values())).toBeLessThan(1200);
  });
});
