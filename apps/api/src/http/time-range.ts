import { invalidParameter } from './problem.js';

export const DAY_MS = 86_400_000;
const DEFAULT_SPAN_MS = DAY_MS;

/** Half-open: from <= t < to. A missing end is open. */
export interface TimeRange {
  from?: Date;
  to?: Date;
}

/**
 * Checks a range that was asked for, up to `maxDays` from `from` to `to` or now. With `bounded`, a missing `from` becomes 24
 * hours before `to` or now. Throws a Problem. `nowMs` is that of the list's first page, so that further pages mean the same.
 */
export function timeRange(
  asked: TimeRange,
  { nowMs, bounded, maxDays = 366 }: { nowMs: number; bounded: boolean; maxDays?: number },
): TimeRange {
  const endMs = asked.to?.getTime() ?? nowMs;
  const from = asked.from ?? (bounded ? new Date(Math.max(0, endMs - DEFAULT_SPAN_MS)) : undefined);
  if (asked.from && asked.to && asked.from > asked.to) throw invalidParameter('from', 'must not be after to');
  if (from && endMs - from.getTime() > maxDays * DAY_MS)
    throw invalidParameter('from', `must be at most ${maxDays} days before to (or now)`);
  return { from, to: asked.to };
}

/** How long a range is that has a beginning; without an end it lasts until now. */
export function spanMs({ from, to }: TimeRange, nowMs: number): number {
  return from ? (to?.getTime() ?? nowMs) - from.getTime() : Infinity;
}
