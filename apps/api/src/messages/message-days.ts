import { uuidv7Floor } from '@tallystick/persistence';
import type { Reader } from '../database/database.js';
import { DAY_MS, type TimeRange } from '../http/time-range.js';

/** Whole days, UTC, each a partition of messages. In a statement's text they tell PostgreSQL its partitions, and are the same for many. */
export interface Days {
  fromMs: number;
  /** Undefined: all that there are from then on. */
  beforeMs: number | undefined;
  count: number;
}

/** Each span of days is a plan of its own on every connection, some 70 KB for a day; so many days at most. */
const FEW_DAYS = 3;

/** Whether a plan is made for these days. */
export function isFew(days: Days | undefined): boolean {
  return days !== undefined && days.count <= FEW_DAYS;
}

/** Undefined: from the first day there is. */
export function daysWithin({ from, to }: TimeRange, nowMs: number): Days | undefined {
  if (!from) return undefined;
  const days = daysBetween(from.getTime(), to ? to.getTime() - 1 : nowMs);
  return to ? days : { ...days, beforeMs: undefined };
}

/** The days of a batch that the reader sees; undefined when there is none. */
export async function daysOf(read: Reader, batchId: string): Promise<Days | undefined> {
  const [batch] = await read<{ from: Date; last: Date }>(
    `SELECT start_timestamp AS "from", end_timestamp AS last FROM batches WHERE batch_id = $1 AND ($2::text IS NULL OR tenant_id = $2)`,
    [batchId, read.tenantId],
    // By its key, however it is planned; this way what follows need not change the settings of the transaction.
    'once, in order',
  );
  return batch && daysBetween(batch.from.getTime(), batch.last.getTime());
}

function daysBetween(fromMs: number, lastMs: number): Days {
  const [first, last] = [Math.floor(fromMs / DAY_MS), Math.floor(lastMs / DAY_MS)];
  return { fromMs: first * DAY_MS, beforeMs: (last + 1) * DAY_MS, count: last - first + 1 };
}

/** As conditions on `messages m`. */
export function conditionsOf(days: Days | undefined): string[] {
  if (!days) return [];
  const from = `m.message_id >= '${uuidv7Floor(days.fromMs)}'::uuid`;
  return days.beforeMs === undefined ? [from] : [from, `m.message_id < '${uuidv7Floor(days.beforeMs)}'::uuid`];
}
