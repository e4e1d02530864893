import type { PoolClient } from 'pg';
import { counterRise } from './counter-rise.js';
import type { DatabaseConnection } from './database-connection.js';
import { HEARTBEAT, heartbeatTolerance } from './heartbeat.js';
import { BEGIN_LIMITED, inTransaction } from './transaction.js';

const HOUR_MS = 3_600_000;
/**
 * What one transaction rolls up: of a usual broker 20,000 values, for a tenth of a second. The minutes of one metric then lie side by
 * side, and a series of a month is a quarter of the pages that it would be with portions of ten minutes. Divides a day.
 */
export const METRICS_ROLLED_TOGETHER_MS = HOUR_MS;
const DAY_MS = 24 * HOUR_MS;
/** Below the time after which a connection is given up. */
const STATEMENT_LIMIT_MS = 15_000;
/** By so many heartbeats before it, and its own, a portion knows how long a silence is. */
const HEARTBEATS_BEFORE = 10;

/** A day of values that is to be removed, and the brokers whose values in it are not rolled up; when there are none, it was removed. */
export interface RawDay {
  partition: string;
  endMs: number;
  waitsFor: string[];
}

interface State {
  rolledUntilMs: number;
  rawFrom: Date | null;
  minutesFrom: Date | null;
}

/**
 * The only writer of broker_metrics_1m, broker_metrics_1h and broker_metric_roll_ups. A minute is computed from all its values each
 * time, an hour from its minutes: to do it again changes nothing, and values that came late are in it then.
 */
export class MetricRollUps {
  constructor(
    private readonly connection: Pick<DatabaseConnection, 'dataSource'>,
    private readonly statementLimitMs = STATEMENT_LIMIT_MS,
  ) {}

  /**
   * One transaction: rolls up the next `portionMs` of a broker that end at or before `untilMs`, those first to which a value came late.
   * `more`: there may be another; `busy`: somebody else is at this broker. Throws with code 57014 when it took too long.
   */
  async rollUpNext(broker: string, untilMs: number, portionMs = METRICS_ROLLED_TOGETHER_MS): Promise<'more' | 'done' | 'busy'> {
    const work = async (client: PoolClient) => {
      const state = (await lockState(client, broker)) ?? (await firstState(client, broker, floor(untilMs, portionMs)));
      if (state === undefined) return 'busy';
      const { rolledUntilMs } = state;
      const lateMs = await oldestLateMs(client, broker, rolledUntilMs);
      const fromMs = lateMs === undefined ? rolledUntilMs : floor(lateMs, portionMs);
      const toMs = floor(fromMs, portionMs) + portionMs;
      if (toMs > untilMs) return 'done';
      // Before the values are read: one that is noted while we are at it keeps, or makes, its note.
      await client.query(`DELETE FROM broker_metrics_late WHERE broker = $1 AND ts >= $2 AND ts < $3`, [broker, ...dates(fromMs, toMs)]);
      const rows = await rollUpMinutes(client, broker, fromMs, toMs, state);
      const nextMs = rows > 0 || toMs < rolledUntilMs ? toMs : await startOfNext(client, broker, toMs, floor(untilMs, portionMs));
      const reachedMs = Math.max(rolledUntilMs, nextMs);
      const hourMs = floor(fromMs, HOUR_MS);
      if (hourMs + HOUR_MS <= reachedMs) await rollUpHour(client, broker, hourMs, state);
      await client.query(`UPDATE broker_metric_roll_ups SET rolled_until = $2 WHERE broker = $1`, [broker, new Date(reachedMs)]);
      // COMMIT follows here: what is rolled up, and how far that reaches, are stored together.
      return 'more';
    };
    const begin = `${BEGIN_LIMITED}; SET LOCAL statement_timeout = ${this.statementLimitMs}; SET LOCAL jit = off`;
    return inTransaction(this.connection.dataSource, work, begin);
  }

  /** Removes the oldest day of values that is older than `keepDays`, or tells what it waits for; undefined when there is nothing to do. */
  async dropOldestDay(keepDays: number): Promise<RawDay | undefined> {
    const [row] = await this.connection.dataSource.query<{ partition: string; ends_at: Date; waits_for: string[] }[]>(
      `SELECT * FROM drop_broker_metrics_day($1)`,
      [keepDays],
    );
    return row && { partition: row.partition, endMs: row.ends_at.getTime(), waitsFor: row.waits_for };
  }

  /** Removes up to `most` minutes that are older than `keepDays`; how many it were. */
  async trimMinutes(keepDays: number, most: number): Promise<number> {
    const [row] = await this.connection.dataSource.query<{ removed: number }[]>(`SELECT trim_broker_metrics_1m($1, $2) AS removed`, [
      keepDays,
      most,
    ]);
    return row!.removed;
  }
}

/** Undefined when there is none yet, or somebody else has it. */
async function lockState(client: PoolClient, broker: string): Promise<State | undefined> {
  const { rows } = await client.query<{ rolled_until: Date; raw_from: Date | null; minutes_from: Date | null }>(
    `SELECT rolled_until, raw_from, minutes_from FROM broker_metric_roll_ups WHERE broker = $1 FOR UPDATE SKIP LOCKED`,
    [broker],
  );
  const [row] = rows;
  return row && { rolledUntilMs: row.rolled_until.getTime(), rawFrom: row.raw_from, minutesFrom: row.minutes_from };
}

/** Of a broker that was never rolled up: from its oldest value on. */
async function firstState(client: PoolClient, broker: string, untilMs: number): Promise<State | undefined> {
  const startMs = await startOfNext(client, broker, 0, untilMs);
  await client.query(`INSERT INTO broker_metric_roll_ups (broker, rolled_until) VALUES ($1, $2) ON CONFLICT DO NOTHING`, [
    broker,
    new Date(startMs),
  ]);
  return lockState(client, broker);
}

async function oldestLateMs(client: PoolClient, broker: string, beforeMs: number): Promise<number | undefined> {
  const { rows } = await client.query<{ ts: Date | null }>(`SELECT min(ts) AS ts FROM broker_metrics_late WHERE broker = $1 AND ts < $2`, [
    broker,
    new Date(beforeMs),
  ]);
  return rows[0]!.ts?.getTime();
}

/** Where the portion of the oldest value from `fromMs` on begins, or `untilMs` if that comes first: months without values are one step. */
async function startOfNext(client: PoolClient, broker: string, fromMs: number, untilMs: number): Promise<number> {
  const { rows } = await client.query<{ ts: Date | null }>(
    `WITH RECURSIVE ${names('broker_metrics', 'ts >= $2')}
     SELECT min(oldest.ts) AS ts
     FROM names CROSS JOIN LATERAL (
       SELECT ts FROM broker_metrics v WHERE v.broker = $1 AND v.metric = names.metric AND v.ts >= $2 ORDER BY v.ts LIMIT 1
     ) oldest`,
    [broker, new Date(fromMs)],
  );
  return Math.min(untilMs, Math.max(fromMs, floor(rows[0]!.ts?.getTime() ?? Infinity, METRICS_ROLLED_TOGETHER_MS)));
}

/**
 * Computes the minutes between two times of one UTC day; how many rows it were. Before `rawFrom` not all values are there any more: a
 * minute that exists stays as it is. A value too large or too small to be added up is none that a broker counts.
 */
async function rollUpMinutes(client: PoolClient, broker: string, fromMs: number, toMs: number, { rawFrom }: State): Promise<number> {
  const { rowCount } = await client.query(
    `WITH RECURSIVE ${names('broker_metrics', `ts >= $4::timestamptz AND ts < $4::timestamptz + interval '24 hours'`)},
     received AS (
       SELECT v.*, date_bin('1 minute', v.ts, 'epoch') AS minute
       FROM names CROSS JOIN LATERAL (
         SELECT id, metric, value, ts FROM broker_metrics b
         WHERE b.broker = $1 AND b.metric = names.metric AND b.ts >= $2::timestamptz AND b.ts < $3::timestamptz
       ) v
       WHERE v.value = 0 OR abs(v.value) BETWEEN 1e-30 AND 1e30
     ),
     heartbeats AS (
       SELECT ts, date_bin('1 minute', ts, 'epoch') AS minute, lag(ts) OVER arrival AS heard_before,
         ts - lag(ts) OVER arrival AS silence, value < lag(value) OVER arrival AS restarted
       FROM (
         (SELECT ts, value FROM broker_metrics WHERE broker = $1 AND metric = '${HEARTBEAT}' AND ts < $2::timestamptz
          ORDER BY ts DESC LIMIT ${HEARTBEATS_BEFORE})
         UNION ALL SELECT ts, value FROM received WHERE metric = '${HEARTBEAT}'
       ) heard
       WINDOW arrival AS (ORDER BY ts)
     ),
     usual AS (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY silence) AS silence FROM heartbeats),
     broken AS (
       SELECT minute, max(ts) AS ts FROM heartbeats CROSS JOIN usual
       WHERE heard_before >= minute AND (restarted OR heartbeats.silence > ${heartbeatTolerance('usual.silence')})
       GROUP BY minute
     ),
     minutes AS (
       SELECT metric, minute, min(value), max(value), avg(value), max(value) FILTER (WHERE before IS NULL) AS first,
         max(value) FILTER (WHERE after IS NULL) AS last, coalesce(sum(${counterRise('value', 'before')}), 0) AS increase,
         count(*) AS count, min(ts) AS first_ts, max(ts) AS last_ts
       FROM (
         SELECT *, lag(value) OVER arrival AS before, lead(value) OVER arrival AS after
         FROM received WINDOW arrival AS (PARTITION BY metric, minute ORDER BY ts, id)
       ) v
       GROUP BY metric, minute
     )
     INSERT INTO broker_metrics_1m AS m (${COLUMNS})
     SELECT $1, metric, minutes.minute, min, max, avg, first, last, increase, count, first_ts, last_ts,
       CASE WHEN metric = '${HEARTBEAT}' THEN usual.silence END, broken.ts
     FROM minutes CROSS JOIN usual LEFT JOIN broken ON metric = '${HEARTBEAT}' AND broken.minute = minutes.minute
     ORDER BY metric, minutes.minute
     ${replace('$5')}`,
    [broker, ...dates(fromMs, toMs, floor(fromMs, DAY_MS)), rawFrom],
  );
  return rowCount ?? 0;
}

/** Computes an hour from its minutes; one of which minutes have been removed stays as it is. */
async function rollUpHour(client: PoolClient, broker: string, hourMs: number, { minutesFrom }: State): Promise<void> {
  await client.query(
    `WITH RECURSIVE ${names('broker_metrics_1m', 'true')},
     minutes AS (
       SELECT m.*, lag(m.last) OVER arrival AS before, lead(m.first) OVER arrival AS after, m.first_ts - lag(m.last_ts) OVER arrival AS silence
       FROM names CROSS JOIN LATERAL (
         SELECT * FROM broker_metrics_1m b
         WHERE b.broker = $1 AND b.metric = names.metric AND b.ts >= $2::timestamptz AND b.ts < $2::timestamptz + interval '1 hour'
       ) m
       WINDOW arrival AS (PARTITION BY m.metric ORDER BY m.ts)
     )
     INSERT INTO broker_metrics_1h AS m (${COLUMNS})
     SELECT $1, metric, $2, min(min), max(max), sum(avg * count) / sum(count), max(first) FILTER (WHERE before IS NULL),
       max(last) FILTER (WHERE after IS NULL), sum(increase) + coalesce(sum(${counterRise('first', 'before')}), 0), sum(count), min(first_ts),
       max(last_ts), percentile_disc(0.5) WITHIN GROUP (ORDER BY usual_silence),
       max(greatest(broken_ts, CASE WHEN metric = '${HEARTBEAT}' AND (first < before OR silence > ${heartbeatTolerance('usual_silence')})
                               THEN first_ts END))
     FROM minutes
     GROUP BY metric
     ORDER BY metric
     ${replace('$3')}`,
    [broker, new Date(hourMs), minutesFrom],
  );
}

const COLUMNS = 'broker, metric, ts, min, max, avg, first, last, increase, count, first_ts, last_ts, usual_silence, broken_ts';

/** A row that is there is replaced, unless it is of before a time. */
function replace(from: string): string {
  const values = COLUMNS.split(', ').map((column) => `excluded.${column}`);
  return `ON CONFLICT (broker, metric, ts) DO UPDATE SET (${COLUMNS}) = (${values.join(', ')})
     WHERE m.ts >= coalesce(${from}::timestamptz, '-infinity')`;
}

/** The metrics of broker $1, one step in the index from each name to the next. */
function names(table: string, where: string): string {
  return `names AS (
       (SELECT metric FROM ${table} WHERE broker = $1 AND ${where} ORDER BY metric LIMIT 1)
       UNION ALL
       SELECT next.metric FROM names CROSS JOIN LATERAL (
         SELECT n.metric FROM ${table} n WHERE n.broker = $1 AND n.metric > names.metric AND ${where} ORDER BY n.metric LIMIT 1
       ) next
     )`;
}

function floor(ms: number, spanMs: number): number {
  return Math.floor(ms / spanMs) * spanMs;
}

function dates(...ms: number[]): Date[] {
  return ms.map((each) => new Date(each));
}
