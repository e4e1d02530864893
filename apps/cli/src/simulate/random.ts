/** Returns numbers in [0, 1), the same ones for the same seed. */
export type Random = () => number;

/** mulberry32 by Tommy Ettinger, 2017, public domain (gist.github.com/tommyettinger/46a874533244883189143505d203312c). `seed`: 32 bits. */
export function mulberry32(seed: number): Random {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A seed of its own for each stream of one simulation: the first output for the simulation's seed, turned by the stream's number. */
export function streamSeed(seed: number, stream: number): number {
  return Math.floor(mulberry32(seed ^ Math.imul(stream + 1, 0x9e3779b1))() * 2 ** 32);
}

/**
 * Steps of a value that wanders about 0 and never leaves [-1, 1]. `persistence` in [0, 1): how much of the last step stays.
 */
export function drift(random: Random, persistence: number): () => number {
  let value = 0;
  return () => (value = persistence * value + (1 - persistence) * (2 * random() - 1));
}
