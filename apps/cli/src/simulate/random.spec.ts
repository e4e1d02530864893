import fc from 'fast-check';
import { drift, mulberry32, streamSeed } from './random.js';

/** The first three outputs of the C original for the state 1. */
const REFERENCE = [2_693_262_067, 11_749_833, 2_265_367_787];

describe('mulberry32', () => {
  it('gives the numbers of the C original', () => {
    const random = mulberry32(1);
    expect(Array.from({ length: 3 }, () => random() * 2 ** 32)).toEqual(REFERENCE);
  });

  it('stays in [0, 1) and repeats itself for the same seed', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (seed) => {
        const [one, two] = [mulberry32(seed), mulberry32(seed)];
        for (let i = 0; i < 20; i++) {
          const value = one();
          expect(value).toBe(two());
          expect(value >= 0 && value < 1).toBe(true);
        }
      }),
    );
  });
});

describe('streamSeed', () => {
  it('differs between the streams of a seed and between seeds', () => {
    const seeds = [0, 1, 2, 4_294_967_295].flatMap((seed) => Array.from({ length: 500 }, (_, stream) => streamSeed(seed, stream)));
    expect(new Set(seeds).size).toBe(seeds.length);
  });
});

describe('drift', () => {
  it('never leaves [-1, 1]', () => {
    fc.assert(
      fc.property(fc.integer(), fc.double({ min: 0, max: 0.999, noNaN: true }), (seed, persistence) => {
        const next = drift(mulberry32(seed), persistence);
        for (let i = 0; i < 50; i++) expect(Math.abs(next())).toBeLessThanOrEqual(1);
      }),
    );
  });
});
