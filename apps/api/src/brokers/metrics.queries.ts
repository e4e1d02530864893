import type { Reader } from '../database/database.js';
import type { ListRequest, Page } from '../http/list.js';
import { type HeartbeatBucket, metricPoints, type SeriesParts, type ValueBucket } from './metric-points.js';
import type { MetricSeries, MetricValue } from './metrics.dto.js';

/** Every broker publishes `uptime` in every round of $SYS, though only changed values of the rest. */
const HEARTBEAT = 'uptime';

/** How long a heartbeat may be missing: three times its usual interval (Mosquitto's is 10 s), and 30 s. `silence`: from one to the next. */
const TOLERANCE = `greatest(interval '30 seconds', 3 * percentile_disc(0.5) WITHIN GROUP (ORDER BY silence))`;

/** How far back the value with which a series begins is looked for. */
const LOOK_BACK_MS = 7 * 86_400_000;
/** A silence in which that value came is seen by the heartbeat before it. */
const HEARTBEAT_BEFORE_MS = 3_600_000;

/** When a broker was last heard, and whether that is too long ago for its values to be valid still. */
export async function findHeartbeat(read: Reader, broker: string): Promise<{ at: Date | null; isStale: boolean }> {
  const [row] = await read<{ at: Date | null; isStale: boolean }>(
    `WITH heartbeats AS (
       SELECT ts, ts - lag(ts) OVER (ORDER BY ts) AS silence
       FROM (SELECT ts FROM broker_metrics WHERE broker = $1 AND metric = '${HEARTBEAT}' ORDER BY ts DESC LIMIT 6) latest
     )
     SELECT max(ts) AS at, coalesce(max(ts) < now() - ${TOLERANCE}, true) AS "isStale" FROM heartbeats`,
    [broker],
  );
  return row!;
}

/** The latest value of each metric, by name: one step in idx_broker_metrics_metric_ts from each name to the next. */
export async function listMetrics(read: Reader, broker: string, list: ListRequest): Promise<Page<MetricValue>> {
  const { isStale } = await findHeartbeat(read, broker);
  const [metric] = list.after ?? [];
  const rows = await read<Omit<MetricValue, 'isStale'>>(
    `WITH RECURSIVE latest AS (
       (SELECT metric, value, ts FROM broker_metrics
        WHERE broker = $1 AND ($2::text IS NULL OR metric > $2) ORDER BY metric, ts DESC LIMIT 1)
       UNION ALL
       SELECT next.metric, next.value, next.ts
       FROM latest
       CROSS JOIN LATERAL (
         SELECT metric, value, ts FROM broker_metrics
         WHERE broker = $1 AND metric > latest.metric ORDER BY metric, ts DESC LIMIT 1
       ) next
     )
     SELECT metric, value, ts FROM latest LIMIT $3`,
    [broker, metric, list.limit + 1],
  );
  return list.page(
    rows.map((row) => ({ ...row, isStale })),
    (row) => [row.metric],
  );
}

export interface SeriesRequest {
  metric: string;
  from: Date;
  to: Date;
  /** Most points. */
  points: number;
}

/** A metric over time, in equal steps from `from` on. */
export async function findSeries(read: Reader, broker: string, { metric, from, to, points }: SeriesRequest): Promise<MetricSeries> {
  const [fromMs, toMs] = [from.getTime(), to.getTime()];
  const stepMs = Math.max(1_000, Math.ceil((toMs - fromMs) / points));
  const step = `${stepMs} milliseconds`;
  const values = await read<ValueRow>(
    `SELECT bucket.*, latest.value AS last
     FROM (
       SELECT date_bin($5::interval, ts, $3) AS start, min(value), max(value), avg(value), count(*)::int, max(ts) AS "lastAt"
       FROM broker_metrics
       WHERE broker = $1 AND metric = $2 AND ts >= $3::timestamptz AND ts < $4::timestamptz
       GROUP BY start
     ) bucket
     CROSS JOIN LATERAL (SELECT value FROM broker_metrics WHERE broker = $1 AND metric = $2 AND ts = bucket."lastAt" LIMIT 1) latest`,
    [broker, metric, from, to, step],
  );
  const [before] = await read<{ value: number; ts: Date }>(
    `SELECT value, ts FROM broker_metrics
     WHERE broker = $1 AND metric = $2 AND ts >= $3 AND ts < $4 ORDER BY ts DESC LIMIT 1`,
    [broker, metric, new Date(fromMs - LOOK_BACK_MS), from],
  );
  const heardFromMs = (before?.ts.getTime() ?? fromMs) - HEARTBEAT_BEFORE_MS;
  const heartbeats = await read<HeartbeatRow>(
    `WITH heartbeats AS (
       SELECT ts, ts - lag(ts) OVER arrival AS silence, value < lag(value) OVER arrival AS restarted
       FROM broker_metrics
       WHERE broker = $1 AND metric = '${HEARTBEAT}' AND ts >= $2 AND ts < $4::timestamptz
       WINDOW arrival AS (ORDER BY ts)
     ), allowed AS (SELECT ${TOLERANCE} AS tolerance FROM heartbeats)
     SELECT CASE WHEN ts >= $3::timestamptz THEN date_bin($5::interval, ts, $3) END AS start, max(ts) AS "lastAt",
       max(ts) FILTER (WHERE restarted OR silence > tolerance) AS "brokenAt",
       (extract(epoch FROM tolerance) * 1000)::float8 AS "toleranceMs"
     FROM heartbeats CROSS JOIN allowed
     GROUP BY start, tolerance`,
    [broker, new Date(heardFromMs), from, to, step],
  );
  const parts: SeriesParts = {
    ...{ fromMs, toMs, stepMs },
    toleranceMs: heartbeats[0]?.toleranceMs ?? 0,
    before: before && { value: before.value, atMs: before.ts.getTime() },
    values: values.map(valueBucket),
    heartbeats: heartbeats.map(heartbeatBucket),
  };
  return { metric, from, to, stepMs, points: metricPoints(parts) };
}

type ValueRow = Omit<ValueBucket, 'startMs' | 'lastMs'> & { start: Date; lastAt: Date };

interface HeartbeatRow {
  start: Date | null;
  lastAt: Date;
  brokenAt: Date | null;
  toleranceMs: number;
}

function valueBucket({ start, lastAt, ...bucket }: ValueRow): ValueBucket {
  return { ...bucket, startMs: start.getTime(), lastMs: lastAt.getTime() };
}

function heartbeatBucket({ start, lastAt, brokenAt }: HeartbeatRow): HeartbeatBucket {
  return { startMs: start?.getTime() ?? null, lastMs: lastAt.getTime(), brokenMs: brokenAt?.getTime() ?? null };
}
