import { END_REASONS, EVENT_ACTIONS } from '@tallystick/persistence';
import type { Reader } from '../database/database.js';
import type { BrokerSummary } from './brokers.dto.js';
import { type Bucket, type BucketSpan, countPoints, type Unobserved } from './event-buckets.js';
import type { CountedBy, EventCounts } from './event-counts.dto.js';

/** What is counted, the words it is counted by, and where triggers keep the counts of minutes and hours. */
const COUNTED = {
  action: { table: 'event_counts', column: 'action', amount: 'events', keys: EVENT_ACTIONS },
  endReason: { table: 'session_end_counts', column: 'end_reason', amount: 'sessions', keys: END_REASONS },
} as const;

export interface EventCountsRequest {
  bucket: Bucket;
  by: CountedBy;
  span: BucketSpan;
}

/** Counts by time; those of days are added up from hours. */
export async function countEvents(read: Reader, summary: BrokerSummary, { bucket, by, span }: EventCountsRequest): Promise<EventCounts> {
  const { table, column, amount, keys } = COUNTED[by];
  const [from, to] = [new Date(span.fromMs), new Date(span.toMs)];
  const rows = await read<{ start: Date; key: string; count: number }>(
    `SELECT date_trunc($2, start_ts, 'UTC') AS start, ${column} AS key, sum(${amount})::float8 AS count
     FROM ${table}
     WHERE broker = $1 AND bucket = $3 AND start_ts >= $4 AND start_ts < $5
     GROUP BY start, key`,
    [summary.broker, bucket, bucket === 'minute' ? 'minute' : 'hour', from, to],
  );
  const counted = rows.map(({ start, key, count }) => ({ startMs: start.getTime(), key, count }));
  const unobserved = [...(await gapsWithin(read, summary.broker, from, to)), ...(await unwatched(read, summary))];
  return { bucket, by, from, to, points: countPoints(span, keys, counted, unobserved) };
}

async function gapsWithin(read: Reader, broker: string, from: Date, to: Date): Promise<Unobserved[]> {
  const rows = await read<{ from: Date; to: Date }>(
    `SELECT from_ts AS "from", to_ts AS "to" FROM observation_gaps
     WHERE broker = $1 AND from_ts < $3 AND (to_ts > $2 OR from_ts >= $2)`,
    [broker, from, to],
  );
  return rows.map((row) => ({ fromMs: row.from.getTime(), toMs: row.to.getTime() }));
}

/** Before the first event nobody watched; and who is away now leaves a gap that is not on record before it ends. */
async function unwatched(read: Reader, { broker, state, watchedUntil }: BrokerSummary): Promise<Unobserved[]> {
  const [row] = await read<{ first: Date | null }>(
    `SELECT min(start_ts) AS first FROM event_counts WHERE broker = $1 AND bucket = 'minute'`,
    [broker],
  );
  const before = { fromMs: -Infinity, toMs: row!.first?.getTime() ?? Infinity };
  return state === 'watched' ? [before] : [before, { fromMs: watchedUntil?.getTime() ?? -Infinity, toMs: Infinity }];
}
