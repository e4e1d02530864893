import { appendFileSync } from 'node:fs';

/** The long forms run by `npm run test:faults`; the short ones are part of `npm run test:system`. */
export const isLong = process.env['FAULTS'] === 'long';

export function form<T>(short: T, long: T): T {
  return isLong ? long : short;
}

/** Of all random choices of a spec file; FAULT_SEED replays a run. */
export const seed = Number(process.env['FAULT_SEED'] ?? Math.floor(Math.random() * 2 ** 32));

let state = seed >>> 0;

/** The next number of the seeded sequence (mulberry32), from `from` to below `to`. */
export function randomBetween(from: number, to: number): number {
  state = (state + 0x6d2b79f5) >>> 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return from + (((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * (to - from);
}

/** One line of the table that the run ends with (scripts/jest.mjs): what was done, and what was counted. */
export function report(done: string, counted: Record<string, number>): void {
  const file = process.env['FAULT_REPORT'];
  if (file) appendFileSync(file, `${JSON.stringify({ done, seed, counted })}\n`);
}
