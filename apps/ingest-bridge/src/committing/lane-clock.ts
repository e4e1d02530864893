import { setTimeout as sleep } from 'node:timers/promises';

/** The times a lane lives by, apart so that a simulation can keep them. */
export interface LaneClock {
  /** Monotonic. */
  nowMs(): number;
  /** Unix time. */
  unixMs(): number;
  /** Resolves after `ms`, or at once when the signal says so. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** From 0 to 1, for jitter. */
  random(): number;
}

export const SYSTEM_CLOCK: LaneClock = {
  nowMs: () => performance.now(),
  unixMs: () => Date.now(),
  sleep: (ms, signal) => sleep(ms, undefined, { signal }).catch(() => undefined),
  random: () => Math.random(),
};
