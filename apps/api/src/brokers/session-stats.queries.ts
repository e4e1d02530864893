import type { Reader } from '../database/database.js';
import type { CursorKey } from '../http/cursor.js';
import type { ListRequest, Page } from '../http/list.js';
import type { BucketSpan } from './event-buckets.js';
import type { SessionStats, StatsBy, StatsSort } from './session-stats.dto.js';

/** Sort columns of the lists. */
export const STATS_KEYS: Readonly<Record<StatsBy, CursorKey[]>> = { client: ['bigint', 'text'], day: ['time'] };

/** The median of a day takes all its sessions in order: some 8 ms for 15,000 of them. */
const DAYS_OF_ALL_CLIENTS = 14;

/** Of a session `s`; $2 is the moment until which open ones count. */
const UNCERTAIN = '(s.start_uncertain OR s.end_uncertain)';
const DURATION_MS = `greatest(0, round(1000 * date_part('epoch', coalesce(s.end_ts, $2) - s.start_ts)))`;
const TOTAL_MS = `coalesce(sum(s.duration_ms) FILTER (WHERE NOT s.uncertain), 0)`;

export interface ClientStatsRequest {
  client?: string;
  sort: StatsSort;
  flapping?: boolean;
  flappingConnects: number;
  flappingMinutes: number;
  from: Date;
  to: Date;
}

/**
 * Clients with their sessions of a range. All sessions of the range are read for who comes first (idx_sessions_start, or
 * sessions_client_ts_idx of one client), the rest is of the page's clients (sessions_client_ts_idx); both without the table.
 */
export async function listClientStats(
  read: Reader,
  broker: string,
  { client, sort, flapping, flappingConnects, flappingMinutes, from, to }: ClientStatsRequest,
  list: ListRequest,
): Promise<Page<SessionStats>> {
  const rank = { sessions: 'count(*)', totalDurationMs: `${TOTAL_MS}::bigint`, client: '0::bigint' }[sort];
  const [afterRank, afterClient] = list.after ?? [];
  const rows = await read<SessionStats>(
    `WITH ranked AS (
       SELECT s.client, ${rank} AS rank
       FROM (
         SELECT s.client, ${UNCERTAIN} AS uncertain, ${DURATION_MS} AS duration_ms ${flapping === undefined ? '' : `, ${flaps('s.client')} AS flaps`}
         FROM sessions s
         WHERE s.broker = $1 AND s.start_ts >= $3 AND s.start_ts < $4 AND ($5::text IS NULL OR s.client = $5)
       ) s
       GROUP BY s.client
       HAVING ($8::bigint IS NULL OR ${rank} < $8 OR (${rank} = $8 AND s.client > $9::text))
         ${flapping === undefined ? '' : `AND coalesce(bool_or(s.flaps), false) = ${flapping}`}
       ORDER BY rank DESC, s.client
       LIMIT $10
     )
     SELECT ranked.client, NULL AS day, stats.*
     FROM ranked
     CROSS JOIN LATERAL (
       SELECT (count(*) FILTER (WHERE began))::int AS sessions, (count(*) FILTER (WHERE ended))::int AS ended,
         (count(*) FILTER (WHERE began) + count(*) FILTER (WHERE ended))::int AS churn,
         (count(*) FILTER (WHERE began AND is_open))::int AS open, (count(*) FILTER (WHERE began AND s.uncertain))::int AS uncertain,
         coalesce(sum(s.duration_ms) FILTER (WHERE began AND NOT s.uncertain), 0) AS "totalDurationMs",
         round(percentile_cont(0.5) WITHIN GROUP (ORDER BY s.duration_ms) FILTER (WHERE began AND NOT s.uncertain)) AS "medianDurationMs",
         coalesce(bool_or(s.flaps) FILTER (WHERE began), false) AS flapping
       FROM (
         SELECT s.start_ts >= $3 AS began, s.end_ts >= $3 AND s.end_ts < $4 AS ended, s.end_ts IS NULL AS is_open,
           ${UNCERTAIN} AS uncertain, ${DURATION_MS} AS duration_ms, ${flaps('s.start_ts >= $3')} AS flaps
         FROM sessions s
         WHERE s.broker = $1 AND s.client = ranked.client AND s.start_ts < $4
           -- A client's sessions follow one another: of those before the range only the last can have ended in it.
           AND s.start_ts >= coalesce(
             (SELECT max(b.start_ts) FROM sessions b WHERE b.broker = $1 AND b.client = ranked.client AND b.start_ts < $3), $3)
       ) s
     ) stats
     ORDER BY ranked.rank DESC, ranked.client`,
    [
      ...[broker, new Date(list.nowMs), from, to, client],
      ...[flappingConnects - 1, `${flappingMinutes} minutes`],
      ...[afterRank, afterClient, list.limit + 1],
    ],
  );
  return list.page(rows, (row) => [sort === 'client' ? '0' : String(row[sort]), row.client!]);
}

/** Whether a session is the last of $6 + 1 connections within $7; `among`: which ones are counted together. */
function flaps(among: string): string {
  return `NOT s.start_uncertain AND s.start_ts - lag(s.start_ts, $6) OVER (PARTITION BY ${among}, s.start_uncertain ORDER BY s.start_ts) <= $7::interval`;
}

/** Days with the sessions that began on them, newest first, those without any included. */
export async function listDayStats(
  read: Reader,
  broker: string,
  { client, span }: { client?: string; span: BucketSpan },
  list: ListRequest,
): Promise<Page<SessionStats>> {
  const endMs = list.after ? Number(list.after[0]) : span.toMs;
  const days = client === undefined ? Math.min(list.limit, DAYS_OF_ALL_CLIENTS) : list.limit;
  const fromMs = Math.max(span.fromMs, endMs - days * span.bucketMs);
  const page = { from: new Date(fromMs), to: new Date(endMs) };
  const rows = client === undefined ? await daysOfAll(read, broker, page, list.nowMs) : await daysOfClient(read, broker, page, client);
  const items = rows.map(({ start, ...stats }) => ({
    client: client ?? null,
    day: start.toISOString().slice(0, 10),
    ...stats,
    flapping: null,
  }));
  return list.page(items, () => [String(fromMs)], fromMs > span.fromMs);
}

type DayRow = Omit<SessionStats, 'client' | 'day' | 'flapping'> & { start: Date };

/** Day by day from idx_sessions_start alone. */
async function daysOfAll(read: Reader, broker: string, { from, to }: { from: Date; to: Date }, nowMs: number): Promise<DayRow[]> {
  return read<DayRow>(
    `SELECT d AS start, began.sessions, e.ended, began.sessions + e.ended AS churn, began.open, began.uncertain, began."totalDurationMs",
       began."medianDurationMs"
     FROM generate_series($3::timestamptz, $4::timestamptz - interval '24 hours', interval '24 hours') d
     CROSS JOIN LATERAL (
       SELECT count(*)::int AS sessions, (count(*) FILTER (WHERE s.is_open))::int AS open,
         (count(*) FILTER (WHERE s.uncertain))::int AS uncertain, ${TOTAL_MS} AS "totalDurationMs",
         round(percentile_cont(0.5) WITHIN GROUP (ORDER BY s.duration_ms) FILTER (WHERE NOT s.uncertain)) AS "medianDurationMs"
       FROM (
         SELECT s.end_ts IS NULL AS is_open, ${UNCERTAIN} AS uncertain, ${DURATION_MS} AS duration_ms FROM sessions s
         WHERE s.broker = $1 AND s.start_ts >= d AND s.start_ts < d + interval '24 hours'
       ) s
     ) began
     CROSS JOIN LATERAL (
       SELECT coalesce(sum(sessions), 0)::int AS ended FROM session_end_counts
       WHERE broker = $1 AND bucket = 'hour' AND start_ts >= d AND start_ts < d + interval '24 hours'
     ) e
     ORDER BY d DESC`,
    [broker, new Date(nowMs), from, to],
  );
}

/** The view by sessions_client_ts_idx: all that the client ever had is read. */
async function daysOfClient(read: Reader, broker: string, { from, to }: { from: Date; to: Date }, client: string): Promise<DayRow[]> {
  return read<DayRow>(
    `SELECT d AS start, coalesce(s.sessions, 0)::int AS sessions, coalesce(s.ended, 0)::int AS ended, coalesce(s.churn, 0)::int AS churn,
       coalesce(s.open, 0)::int AS open, coalesce(s.uncertain, 0)::int AS uncertain,
       coalesce(round(1000 * date_part('epoch', s.total_duration)), 0) AS "totalDurationMs",
       round(1000 * date_part('epoch', s.median_duration)) AS "medianDurationMs"
     FROM generate_series($2::timestamptz, $3::timestamptz - interval '24 hours', interval '24 hours') d
     LEFT JOIN session_stats s ON s.broker = $1 AND s.client = $4 AND s.day = (d AT TIME ZONE 'UTC')::date
     ORDER BY d DESC`,
    [broker, from, to, client],
  );
}
