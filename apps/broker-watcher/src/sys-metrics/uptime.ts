/** One value of `$SYS/broker/uptime`. A retained one was published up to sys_interval before it was received. */
export interface Uptime {
  uptimeS: number;
  /** Unix ms of receipt. */
  atMs: number;
  retained: boolean;
}

/** Seconds that a value may be on its way through a busy broker; closing every session for a late value would be worse than waiting. */
const LATE_S = 30;
/** Two clocks may differ by a hundredth. */
const DRIFT = 0.01;

/** When the broker started, Unix ms. */
export function startedAtMs({ uptimeS, atMs }: Uptime): number {
  return atMs - uptimeS * 1_000;
}

/** Whether a broker is another run of what it was: its uptime went back, or it is older now than the old run was but began later. */
export function hasRestarted(before: Uptime, now: Uptime): boolean {
  if (now.uptimeS < before.uptimeS) return true;
  const toleranceMs = LATE_S * 1_000 + (now.atMs - before.atMs) * DRIFT;
  return !now.retained && startedAtMs(now) > startedAtMs(before) + toleranceMs;
}
