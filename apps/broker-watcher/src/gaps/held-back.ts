import { type Gap, LINES_KEPT_MS } from './gap.js';

/** What a line may still wait at the broker while its queue is worked off; the rest of the 20 s is certain to be over. */
const CATCHING_UP_MS = 5_000;
/** A window that is full again within this time: the broker's queue is not empty yet. */
const CAUGHT_UP_MS = 1_000;
/** A broker reports what it dropped at its next sys_interval, 10 s by default. */
const REPORTED_WITHIN_MS = 30_000;

/**
 * Lines that the broker holds back because the window of unacknowledged ones is full, as when the database is away. It throws them
 * away after 20 s, or at once when its queue is full, and cannot say so: that line would have to go through the same queue.
 */
export class HeldBack {
  private isFull = false;
  private fullUntilMs = 0;
  /** Since when lines are held back, or where the last gap that was told of them ends. */
  private fromMs: number | undefined;
  private overflowed = false;

  /** At every change of the window. Gives a gap when the broker is being heard again after too long. Unix ms. */
  note(isFull: boolean, nowMs: number): Gap | undefined {
    if (isFull) {
      if (!this.isFull && nowMs - this.fullUntilMs > CAUGHT_UP_MS) this.fromMs = nowMs;
      this.isFull = true;
      return undefined;
    }
    if (this.isFull) this.fullUntilMs = nowMs;
    this.isFull = false;
    if (this.fromMs === undefined || nowMs - this.fullUntilMs > CAUGHT_UP_MS) return undefined;
    if (this.overflowed) return this.overflow(nowMs);
    if (nowMs - this.fromMs <= LINES_KEPT_MS) return undefined;
    return this.gapTo(nowMs - LINES_KEPT_MS + CATCHING_UP_MS, 'log_expired');
  }

  /** The broker says that it has dropped messages since it last said so: whose, it does not say. */
  noteDropped(nowMs: number): Gap | undefined {
    if (this.isFull) this.overflowed = true;
    if (this.isFull || this.fromMs === undefined || nowMs - this.fullUntilMs > REPORTED_WITHIN_MS) return undefined;
    return this.overflow(this.fullUntilMs);
  }

  private overflow(toMs: number): Gap {
    this.overflowed = false;
    return this.gapTo(toMs, 'queue_overflow');
  }

  private gapTo(toMs: number, reason: Gap['reason']): Gap {
    const fromMs = Math.min(this.fromMs!, toMs);
    this.fromMs = toMs;
    return { fromMs, toMs, reason };
  }
}
