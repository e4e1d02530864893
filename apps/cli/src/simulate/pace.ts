/** How much of what was missed while the broker did not take it is made up for: beyond that a stall would end in a burst. */
const LONGEST_CATCH_UP_MS = 1_000;

/**
 * How many messages are due at a time, for an average of exactly `ratePerS` from the first one on; 0 means no limit.
 * Counts from elapsed time and not per timer: timers are late by a ms or more, and no timer is fast enough for 20,000/s.
 * Times are ms of a monotonic clock.
 */
export class Pace {
  private taken = 0;

  constructor(
    private readonly ratePerS: number,
    private startMs: number,
  ) {}

  due(nowMs: number): number {
    if (this.ratePerS === 0) return Infinity;
    const lateMs = nowMs - this.timeOf(this.taken) - LONGEST_CATCH_UP_MS - 1000 / this.ratePerS;
    if (lateMs > 0) this.startMs += lateMs;
    // The first message is due at once, not after one interval. The small share mends what rounding took from a whole number.
    return Math.max(0, Math.floor(((nowMs - this.startMs) * this.ratePerS) / 1000 + 1e-6) + 1 - this.taken);
  }

  take(count: number): void {
    this.taken += count;
  }

  /** Until the next message is due; 0 when one is. */
  msUntilNext(nowMs: number): number {
    return this.ratePerS === 0 ? 0 : Math.max(0, this.timeOf(this.taken) - nowMs);
  }

  private timeOf(message: number): number {
    return this.startMs + (message * 1000) / this.ratePerS;
  }
}
