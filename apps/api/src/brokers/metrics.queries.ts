import { counterRise, HEARTBEAT, heartbeatTolerance } from '@tallystick/persistence';
import type { Reader } from '../database/database.js';
import type { ListRequest, Page } from '../http/list.js';
import { deltaPoints, isCounter, ratePoints } from './counter-points.js';
import { type HeartbeatBucket, metricPoints, type SeriesParts, type ValueBucket } from './metric-points.js';
import type { MetricSeries, MetricValue, SeriesKind } from './metrics.dto.js';
import { type Coverage, planSeries, type SeriesPlan, type Sources } from './series-plan.js';

const HOUR_MS = 3_600_000;

/**
 * When a broker was last heard, and whether that is too long ago for its values to be valid still. When its values have been removed
 * since, the roll-up by hour has the last.
 */
export async function findHeartbeat(read: Reader, broker: string): Promise<{ at: Date | null; isStale: boolean }> {
  const [row] = await read<{ at: Date | null; isStale: boolean }>(HEARD, [broker], 'once');
  return row!;
}

const USUAL_SILENCE = 'percentile_disc(0.5) WITHIN GROUP (ORDER BY silence)';
const HEARD = `
  SELECT greatest(max(ts), (SELECT last_ts FROM broker_metrics_1h WHERE broker = $1 AND metric = '${HEARTBEAT}' ORDER BY ts DESC LIMIT 1)) AS at,
    coalesce(max(ts) < now() - ${heartbeatTolerance(USUAL_SILENCE)}, true) AS "isStale"
  FROM (
    SELECT ts, ts - lag(ts) OVER (ORDER BY ts) AS silence
    FROM (SELECT ts FROM broker_metrics WHERE broker = $1 AND metric = '${HEARTBEAT}' ORDER BY ts DESC LIMIT 6) latest
  ) heartbeats`;

/**
 * The latest value of a metric, as a subquery: `broker` and `metric` are columns or parameters. What has been silent for longer than
 * values are kept is found in the roll-up by hour.
 */
export function latestValue(broker: string, metric: string): string {
  return `(
    SELECT value, ts FROM (
      (SELECT value, ts FROM broker_metrics v WHERE v.broker = ${broker} AND v.metric = ${metric} ORDER BY v.ts DESC LIMIT 1)
      UNION ALL
      (SELECT last, last_ts FROM broker_metrics_1h h WHERE h.broker = ${broker} AND h.metric = ${metric} ORDER BY h.ts DESC LIMIT 1)
    ) latest ORDER BY ts DESC LIMIT 1
  )`;
}

/** Up to when a broker is rolled up, of `broker_metric_roll_ups r`. While late values wait for it, a roll-up counts up to the first of them. */
const ROLLED_UNTIL = `
  least(r.rolled_until, (SELECT min(l.ts) FROM broker_metrics_late l WHERE l.broker = r.broker AND l.ts >= coalesce(r.raw_from, '-infinity')))`;

/** Values from here on may be in no hour of the roll-up yet; those before are, each with its metric. */
const NOT_ROLLED_UP = `
  SELECT coalesce((SELECT date_trunc('hour', ${ROLLED_UNTIL}, 'UTC') FROM broker_metric_roll_ups r WHERE r.broker = $1), '-infinity') AS since`;

/**
 * The latest value of each metric, by name. Among values that no hour has yet one step in the index leads from each metric to the next one's
 * latest, which is the latest of all; another leads from name to name in the hours. What is in them alone is looked up.
 */
export async function listMetrics(read: Reader, broker: string, list: ListRequest): Promise<Page<MetricValue>> {
  const [metric] = list.after ?? [];
  const nextValue = (after: string) => `
    (SELECT metric, value, ts FROM broker_metrics WHERE broker = $1 AND ${after} AND ts >= (SELECT since FROM not_rolled_up)
     ORDER BY metric, ts DESC LIMIT 1)`;
  const nextHour = (after: string) => `(SELECT metric FROM broker_metrics_1h WHERE broker = $1 AND ${after} ORDER BY metric LIMIT 1)`;
  const first = '($2::text IS NULL OR metric > $2)';
  const rows = await read<Omit<MetricValue, 'isCounter'>>(
    `WITH RECURSIVE not_rolled_up AS MATERIALIZED (${NOT_ROLLED_UP}), recent AS (
       ${nextValue(first)}
       UNION ALL
       SELECT next.* FROM recent, LATERAL ${nextValue('metric > recent.metric')} next
     ), hours AS (
       ${nextHour(first)}
       UNION ALL
       SELECT next.* FROM hours, LATERAL ${nextHour('metric > hours.metric')} next
     )
     SELECT latest.*, "isStale"
     FROM (${HEARD}) heard, (
       SELECT * FROM recent
       UNION ALL
       SELECT hours.metric, silent.* FROM hours CROSS JOIN LATERAL ${latestValue('$1', 'hours.metric')} silent
       WHERE hours.metric NOT IN (SELECT metric FROM recent)
     ) latest
     ORDER BY metric
     LIMIT $3`,
    [broker, metric, list.limit + 1],
    'once',
  );
  return list.page(
    rows.map((row) => ({ ...row, isCounter: isCounter(row.metric) })),
    (row) => [row.metric],
  );
}

export interface SeriesRequest {
  metric: string;
  from: Date;
  to: Date;
  as: SeriesKind;
  /** As it is wished for. */
  stepMs: number;
  nowMs: number;
}

/** A metric over time, in equal steps. */
export async function findSeries(read: Reader, broker: string, request: SeriesRequest): Promise<MetricSeries> {
  const { metric, from, to, as, nowMs } = request;
  const plan = planSeries(from.getTime(), to.getTime(), request.stepMs, await findCoverage(read, broker));
  const { fromMs, stepMs, resolution } = plan;
  const before = await findValueBefore(read, broker, metric, plan);
  const values = await findValues(read, broker, metric, plan);
  // A silence in which that value came is seen by the heartbeat before it; whole hours, as they may be read by hour.
  const heardFromMs = Math.floor((before?.atMs ?? fromMs) / HOUR_MS - 1) * HOUR_MS;
  const heartbeats = await findHeartbeats(read, broker, plan, heardFromMs);
  const parts: SeriesParts = { ...plan, toleranceMs: heartbeats[0]?.toleranceMs ?? 0, before, values, heartbeats };
  const points = as === 'value' ? metricPoints(parts) : as === 'delta' ? deltaPoints(parts) : ratePoints(parts, nowMs);
  return { metric, as, from: new Date(fromMs), to, stepMs, resolution, points };
}

/** A broker that is not rolled up has all there is in its values. */
async function findCoverage(read: Reader, broker: string): Promise<Coverage> {
  const [row] = await read<{ rolledUntil: Date; rawFrom: Date | null; minutesFrom: Date | null }>(
    `SELECT ${ROLLED_UNTIL} AS "rolledUntil", r.raw_from AS "rawFrom", r.minutes_from AS "minutesFrom"
     FROM broker_metric_roll_ups r WHERE r.broker = $1`,
    [broker],
  );
  const ms = (time: Date | null | undefined) => time?.getTime() ?? 0;
  return { rolledUntilMs: ms(row?.rolledUntil), rawFromMs: ms(row?.rawFrom), minutesFromMs: ms(row?.minutesFrom) };
}

/** Values of the same millisecond are in the order of their ids, as they are in the roll-ups. */
const COLUMNS = 'ts, min, max, avg, first, last, increase, count, first_ts, last_ts, usual_silence, broken_ts, id';
const ROLLED_UP = COLUMNS.replace(/id$/, '0::bigint AS id');
const HOURS = `
    SELECT ${ROLLED_UP} FROM broker_metrics_1h
    WHERE broker = $1 AND metric = $2 AND ts >= $3::timestamptz AND ts < least($4::timestamptz, $5::timestamptz)`;
const MINUTES_AND_VALUES = `
    SELECT ${ROLLED_UP} FROM broker_metrics_1m
    WHERE broker = $1 AND metric = $2 AND ts >= greatest($3::timestamptz, $5::timestamptz) AND ts < least($4::timestamptz, $6::timestamptz)
    UNION ALL
    SELECT ts, value, value, value, value, value, 0, 1, ts, ts, NULL, NULL, id FROM broker_metrics
    WHERE broker = $1 AND metric = $2 AND ts >= greatest($3::timestamptz, $6::timestamptz) AND ts < $4::timestamptz`;
/** Of a metric from one time to another, without overlap. */
const ROWS = `(${HOURS} UNION ALL ${MINUTES_AND_VALUES})`;

/** What the statements above ask for, $1 to $6. */
function rowsOf(broker: string, metric: string, fromMs: number, toMs: number, { minutesFromMs, rawFromMs }: Sources): unknown[] {
  return [broker, metric, ...[fromMs, toMs, minutesFromMs, rawFromMs].map((ms) => new Date(ms))];
}

/** The last value before the series, however old. */
async function findValueBefore(read: Reader, broker: string, metric: string, plan: SeriesPlan): Promise<SeriesParts['before']> {
  const [row] = await read<{ value: number; ts: Date }>(
    `SELECT last AS value, last_ts AS ts FROM ${ROWS} rows ORDER BY rows.ts DESC, rows.id DESC LIMIT 1`,
    rowsOf(broker, metric, 0, plan.fromMs, plan.sourcesBefore),
  );
  return row && { value: row.value, atMs: row.ts.getTime() };
}

async function findValues(read: Reader, broker: string, metric: string, plan: SeriesPlan): Promise<ValueBucket[]> {
  const rows = await read<Omit<ValueBucket, 'startMs' | 'lastMs'> & { start: Date; lastAt: Date }>(
    `SELECT start, min(min), max(max), sum(avg * count) / sum(count) AS avg, sum(count)::int AS count, max(last_ts) AS "lastAt",
       max(first) FILTER (WHERE before IS NULL) AS first, max(last) FILTER (WHERE after IS NULL) AS last,
       sum(increase) + coalesce(sum(${counterRise('first', 'before')}), 0) AS increase
     FROM (
       SELECT *, lag(last) OVER arrival AS before, lead(first) OVER arrival AS after
       FROM (SELECT *, date_bin($7::interval, ts, $3) AS start FROM ${ROWS} rows) started
       WINDOW arrival AS (PARTITION BY start ORDER BY ts, id)
     ) v
     GROUP BY start`,
    [...rowsOf(broker, metric, plan.fromMs, plan.toMs, plan.sources), `${plan.stepMs} milliseconds`],
  );
  return rows.map(({ start, lastAt, ...bucket }) => ({ ...bucket, startMs: start.getTime(), lastMs: lastAt.getTime() }));
}

/** Between a row of heartbeats and the one before. */
const SINCE_LAST = { silence: 'first_ts - lag(last_ts) OVER arrival', restarted: 'first < lag(last) OVER arrival' };

/**
 * A row knows of the silences and restarts within its time; those between two rows are seen here. A month of hours and the minutes of the
 * few that are broken are read in no time.
 */
async function findHeartbeats(read: Reader, broker: string, plan: SeriesPlan, heardFromMs: number): Promise<Heartbeats[]> {
  const rows = await read<{ start: Date | null; lastAt: Date; brokenAt: Date | null; toleranceMs: number }>(
    `WITH hours AS (
       SELECT *, ts >= $9 AND (broken_ts IS NOT NULL OR ${SINCE_LAST.restarted} OR ${SINCE_LAST.silence} > ${heartbeatTolerance('usual_silence')}) AS is_broken
       FROM (${HOURS}) h WINDOW arrival AS (ORDER BY ts)
     ), heartbeats AS (
       SELECT *, ${SINCE_LAST.silence} AS silence, ${SINCE_LAST.restarted} AS restarted
       FROM (
         SELECT ${COLUMNS} FROM hours WHERE is_broken IS NOT TRUE
         UNION ALL
         SELECT m.* FROM hours CROSS JOIN LATERAL (
           SELECT ${ROLLED_UP} FROM broker_metrics_1m m
           WHERE m.broker = $1 AND m.metric = $2 AND m.ts >= hours.ts AND m.ts < hours.ts + interval '1 hour'
         ) m WHERE is_broken
         UNION ALL ${MINUTES_AND_VALUES}
       ) rows
       WINDOW arrival AS (ORDER BY ts)
     ), usual AS (
       SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY coalesce(usual_silence, silence)) AS silence FROM heartbeats
     )
     SELECT CASE WHEN ts >= $8::timestamptz THEN date_bin($7::interval, ts, $8) END AS start, max(last_ts) AS "lastAt",
       max(greatest(broken_ts, CASE WHEN restarted OR h.silence > ${heartbeatTolerance('coalesce(usual_silence, usual.silence)')} THEN first_ts END))
         AS "brokenAt",
       (extract(epoch FROM ${heartbeatTolerance('usual.silence')}) * 1000)::float8 AS "toleranceMs"
     FROM heartbeats h CROSS JOIN usual
     GROUP BY start, usual.silence`,
    [
      ...rowsOf(broker, HEARTBEAT, heardFromMs, plan.toMs, plan.heartbeatSources),
      `${plan.stepMs} milliseconds`,
      new Date(plan.fromMs),
      plan.brokenHoursFromMs === Infinity ? 'infinity' : new Date(plan.brokenHoursFromMs),
    ],
  );
  return rows.map(({ start, lastAt, brokenAt, toleranceMs }) => {
    return { startMs: start?.getTime() ?? null, lastMs: lastAt.getTime(), brokenMs: brokenAt?.getTime() ?? null, toleranceMs };
  });
}

type Heartbeats = HeartbeatBucket & { toleranceMs: number };
