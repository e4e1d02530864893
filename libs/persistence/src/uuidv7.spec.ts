import { uuidv7, uuidv7Floor } from './uuidv7.js';

describe('uuidv7', () => {
  it('has the layout of RFC 9562 section 5.7', () => {
    // The timestamp of the example in RFC 9562 appendix A.6.
    expect(uuidv7(0x017f22e279b0)).toMatch(/^017f22e2-79b0-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  it('ascends within a millisecond, in order of making, and is unique', () => {
    const ids = Array.from({ length: 4096 }, () => uuidv7(1_795_300_000_000));
    expect([...ids].sort()).toEqual(ids);
    const more = Array.from({ length: 100_000 }, (_, i) => uuidv7(i % 7));
    expect(new Set(more).size).toBe(more.length);
  });

  it('lies between the floors of its millisecond and the next', () => {
    const id = uuidv7(1234567890123);
    expect(uuidv7Floor(1234567890123) < id && id < uuidv7Floor(1234567890124)).toBe(true);
  });
});
