import { createTestDatabase, until } from '@tallystick/testing';
import pg from 'pg';
import { createDataSource } from './data-source.js';
import { DatabaseConnection } from './database-connection.js';
import { MetricRollUps } from './metric-roll-ups.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Beginning of a UTC day. */
const T = Date.parse('2026-11-01Z');

type Row = Record<string, unknown>;
type Value = [metric: string, atMs: number, value: number];

describe('MetricRollUps', () => {
  let connection: DatabaseConnection;
  let rollUps: MetricRollUps;
  const sql = <R = Row>(text: string, values?: unknown[]) => connection.dataSource.query<R[]>(text, values);

  beforeEach(async () => {
    connection = new DatabaseConnection(createDataSource((await createTestDatabase()).url, { poolSize: 4 }), { allowDataLoss: true });
    await connection.connect();
    rollUps = new MetricRollUps(connection);
  });
  afterEach(() => connection.close());

  async function store(broker: string, values: readonly Value[]): Promise<void> {
    for (const day of new Set(values.map(([, atMs]) => Math.floor(atMs / DAY_MS) * DAY_MS)))
      await sql(`SELECT ensure_history_partitions($1, $1)`, [new Date(day)]);
    await sql(
      `INSERT INTO broker_metrics (broker, metric, ts, value) SELECT $1, v.* FROM unnest($2::text[], $3::timestamptz[], $4::float8[]) AS v`,
      [broker, values.map(([metric]) => metric), values.map(([, atMs]) => new Date(atMs)), values.map(([, , value]) => value)],
    );
  }

  /** Portions until there is no more; how many it were. */
  async function rollUpAll(untilMs: number, broker = 'b'): Promise<number> {
    for (let portions = 0; ; portions++) {
      const outcome = await rollUps.rollUpNext(broker, untilMs);
      if (outcome === 'done') return portions;
      expect(outcome).toBe('more');
    }
  }

  const at = (date: Date) => (date.getTime() - T) / 1_000;
  const minutes = (metric = 'm') => shown('broker_metrics_1m', metric);
  const hours = (metric = 'm') => shown('broker_metrics_1h', metric);
  async function shown(table: string, metric: string): Promise<string[]> {
    const rows = await sql<
      Record<'min' | 'max' | 'avg' | 'first' | 'last' | 'increase' | 'count', number> &
        Record<'ts' | 'first_ts' | 'last_ts', Date> & { broken_ts: Date | null }
    >(`SELECT * FROM ${table} WHERE broker = 'b' AND metric = $1 ORDER BY ts`, [metric]);
    return rows.map(
      ({ ts, min, max, avg, first, last, increase, count, first_ts, last_ts, broken_ts }) =>
        `${at(ts)}: ${min}..${max} avg ${avg} ${first}>${last} +${increase} x${count} ${at(first_ts)}-${at(last_ts)}` +
        (broken_ts ? ` broken ${at(broken_ts)}` : ''),
    );
  }
  const whole = async () => ({
    minutes: await sql(`SELECT * FROM broker_metrics_1m ORDER BY broker, metric, ts`),
    hours: await sql(`SELECT * FROM broker_metrics_1h ORDER BY broker, metric, ts`),
  });
  /** A counter that is reset now and then, a gauge that is rarely published, and the heartbeat, for some hours. */
  function busyHours(fromMs: number, hoursLong: number): Value[] {
    const values: Value[] = [];
    for (let atMs = fromMs; atMs < fromMs + hoursLong * HOUR_MS; atMs += 10_000) {
      const second = (atMs - fromMs) / 1_000;
      if (second % 5_000 > 4_700) continue;
      values.push(['uptime', atMs, second % 7_000], ['messages/received', atMs + 300, (second * 17) % 70_000]);
      if (second % 700 === 0) values.push(['clients/connected', atMs + 70, second % 13]);
    }
    return values;
  }

  it('makes minutes of values, and hours of minutes', async () => {
    await store('b', [
      ['m', T + 1_000, 10],
      ['m', T + 11_000, 30],
      ['m', T + 59_999, 20],
      ['m', T + 60_000, 5],
      ['m', T + 3_599_000, 7],
      ['m', T + HOUR_MS, 8],
      ['other', T + 1_000, 1],
    ]);
    await store('another broker', [['m', T, 1_000]]);
    await rollUpAll(T + 2 * HOUR_MS);
    // A counter that fell began anew: 10 > 30 > (0) 20.
    expect(await minutes()).toEqual([
      '0: 10..30 avg 20 10>20 +40 x3 1-59.999',
      '60: 5..5 avg 5 5>5 +0 x1 60-60',
      '3540: 7..7 avg 7 7>7 +0 x1 3599-3599',
      '3600: 8..8 avg 8 8>8 +0 x1 3600-3600',
    ]);
    expect(await hours()).toEqual(['0: 5..30 avg 14.4 10>7 +47 x5 1-3599', '3600: 8..8 avg 8 8>8 +0 x1 3600-3600']);
    expect(await sql(`SELECT DISTINCT broker FROM broker_metrics_1m UNION SELECT broker FROM broker_metrics_1h`)).toEqual([
      { broker: 'b' },
    ]);
    expect(await sql(`SELECT broker, rolled_until FROM broker_metric_roll_ups`)).toEqual([
      { broker: 'b', rolled_until: new Date(T + 2 * HOUR_MS) },
    ]);
  });

  it('keeps of the heartbeat what tells a gap: silences and restarts within a minute, and within an hour', async () => {
    // 45 s of silence from 100 on, a restart at 210, two minutes of silence from 250 on.
    const heard = [...range(0, 100), ...range(145, 250), ...range(370, 400)];
    await store(
      'b',
      heard.map((second): Value => ['uptime', T + second * 1_000, second < 210 ? second + 500 : second - 210]),
    );
    await store('b', [['m', T, 1]]);
    await rollUpAll(T + HOUR_MS);
    expect((await minutes('uptime')).map((line) => line.replace(/ avg .*x/, ' x'))).toEqual([
      '0: 500..550 x6 0-50',
      '60: 560..600 x5 60-100',
      '120: 645..675 x4 145-175', // the silence before it is seen between the rows
      '180: 5..705 x6 185-235 broken 215',
      '240: 35..35 x1 245-245',
      '360: 160..190 x4 370-400',
    ]);
    expect((await hours('uptime')).map((line) => line.replace(/ avg .*x/, ' x'))).toEqual(['0: 5..705 x26 0-400 broken 370']);
    expect(await sql(`SELECT DISTINCT extract(epoch FROM usual_silence)::int AS s FROM broker_metrics_1h ORDER BY s`)).toEqual([
      { s: 10 },
      { s: null },
    ]);
  });

  it('changes nothing when it is done again, and catches up with what was away for months in small portions', async () => {
    await store('b', [...busyHours(T, 7), ...busyHours(T + 90 * DAY_MS, 5)]);
    const portions = await rollUpAll(T + 91 * DAY_MS);
    // One an hour, and one for what lies between.
    expect(portions).toBeLessThanOrEqual(12 + 2);
    const rolled = await whole();
    expect(rolled.minutes.length).toBeGreaterThan(12 * 60);
    expect(rolled.hours.length).toBe(3 * 12);
    await sql(`UPDATE broker_metric_roll_ups SET rolled_until = $1`, [new Date(T)]);
    await rollUpAll(T + 91 * DAY_MS);
    expect(await whole()).toEqual(rolled);
    expect(await sql(`SELECT sum(count)::int AS n FROM broker_metrics_1m`)).toEqual(
      await sql(`SELECT count(*)::int AS n FROM broker_metrics`),
    );
    expect(await sql(`SELECT sum(count)::int AS n FROM broker_metrics_1h`)).toEqual(
      await sql(`SELECT count(*)::int AS n FROM broker_metrics`),
    );
    // With nothing to do it does nothing.
    expect(await rollUpAll(T + 91 * DAY_MS + MINUTE_MS)).toBe(0);
  });

  it('comes to the same, minute by minute or whenever the values came', async () => {
    const values = busyHours(T, 5);
    await store('b', values);
    await rollUpAll(T + 6 * HOUR_MS);
    const rolled = await whole();

    await sql(`TRUNCATE broker_metrics, broker_metrics_1m, broker_metrics_1h, broker_metric_roll_ups`);
    const isLate = ([, atMs]: Value) => (atMs - T) % (47 * MINUTE_MS) < 13 * MINUTE_MS;
    await store(
      'b',
      values.filter((value) => !isLate(value)),
    );
    await rollUpAll(T + 6 * HOUR_MS);
    const late = values.filter(isLate);
    await store('b', late);
    const lateMinutes = new Set(late.map(([, atMs]) => Math.floor(atMs / MINUTE_MS) * MINUTE_MS));
    for (const ms of lateMinutes) await sql(`INSERT INTO broker_metrics_late VALUES ('b', $1)`, [new Date(ms)]);
    expect(await whole()).not.toEqual(rolled);
    await rollUpAll(T + 6 * HOUR_MS);
    expect(await whole()).toEqual(rolled);
    expect(await sql(`SELECT FROM broker_metrics_late`)).toEqual([]);

    await sql(`TRUNCATE broker_metrics_1m, broker_metrics_1h, broker_metric_roll_ups`);
    while ((await rollUps.rollUpNext('b', T + 6 * HOUR_MS, MINUTE_MS)) === 'more');
    expect((await whole()).hours).toEqual(rolled.hours);
  });

  it('leaves as they are minutes of which the values have been removed', async () => {
    await store('b', [
      ['m', T + 5_000, 1],
      ['m', T + 6_000, 3],
    ]);
    await rollUpAll(T + HOUR_MS);
    await sql(`DELETE FROM broker_metrics; UPDATE broker_metric_roll_ups SET raw_from = '2026-11-02Z'`);
    await store('b', [
      ['m', T + 7_000, 100],
      ['m', T + 90_000, 5],
    ]);
    await sql(`INSERT INTO broker_metrics_late VALUES ('b', $1), ('b', $2)`, [new Date(T), new Date(T + MINUTE_MS)]);
    await rollUpAll(T + HOUR_MS);
    expect(await minutes()).toEqual(['0: 1..3 avg 2 1>3 +2 x2 5-6', '60: 5..5 avg 5 5>5 +0 x1 90-90']);
    expect(await hours()).toEqual(['0: 1..5 avg 3 1>5 +4 x3 5-90']);
    // The same for hours of which the minutes have been removed.
    await sql(`DELETE FROM broker_metrics_1m; UPDATE broker_metric_roll_ups SET minutes_from = '2026-11-02Z'`);
    await sql(`INSERT INTO broker_metrics_late VALUES ('b', $1)`, [new Date(T + MINUTE_MS)]);
    await rollUpAll(T + HOUR_MS);
    expect(await hours()).toEqual(['0: 1..5 avg 3 1>5 +4 x3 5-90']);
  });

  it('is not stopped by numbers that cannot be added up', async () => {
    const hostile = [1e308, 1.7e308, -1.7e308, 5e-324, 1e200, -1e200];
    await store('b', [...hostile.map((value, n): Value => ['connection/x/state', T + n * 1_000, value]), ['m', T, 1]]);
    await store('b', [
      ['only/hostile', T + 1_000, 1e300],
      ['m', T + MINUTE_MS, 2],
    ]);
    await rollUpAll(T + HOUR_MS);
    expect(await hours()).toEqual(['0: 1..2 avg 1.5 1>2 +1 x2 0-60']);
    expect(await sql(`SELECT DISTINCT metric FROM broker_metrics_1m`)).toEqual([{ metric: 'm' }]);
  });

  it('leaves a broker to whom is at it', async () => {
    await store('b', [['m', T, 1]]);
    await rollUpAll(T + HOUR_MS);
    const other = connection.dataSource.createQueryRunner();
    await other.startTransaction();
    await other.query(`SELECT FROM broker_metric_roll_ups FOR UPDATE`);
    expect(await rollUps.rollUpNext('b', T + 2 * HOUR_MS)).toBe('busy');
    await other.rollbackTransaction();
    await other.release();
    await store('b', [['m', T + HOUR_MS, 1]]);
    const together = await Promise.all([1, 2, 3].map(() => rollUps.rollUpNext('b', T + 2 * HOUR_MS)));
    expect(together).toContain('more');
    expect((await minutes()).length).toBe(2);
  });

  const STEPS: [string, RegExp][] = [
    ['begin', /^BEGIN/],
    ['lock', /FOR UPDATE/],
    ['notes of late values', /^DELETE FROM broker_metrics_late/],
    ['minutes', /INSERT INTO broker_metrics_1m/],
    ['hour', /INSERT INTO broker_metrics_1h/],
    ['how far', /^UPDATE broker_metric_roll_ups/],
    ['commit', /^COMMIT/],
  ];
  const table = STEPS.flatMap(([name, step]) => [false, true].map((persisted) => ({ name, step, persisted })));
  it.each(table)(
    'loses and doubles nothing when the connection breaks at: $name (done in the server: $persisted)',
    async ({ step, persisted }) => {
      const values = busyHours(T, 2);
      await store('b', values);
      await rollUpAll(T + 3 * HOUR_MS);
      const rolled = await whole();
      await sql(`TRUNCATE broker_metrics_1m, broker_metrics_1h`);
      await sql(`UPDATE broker_metric_roll_ups SET rolled_until = $1`, [new Date(T)]);
      await sql(`INSERT INTO broker_metrics_late VALUES ('b', $1)`, [new Date(T + 5 * MINUTE_MS)]);
      // At every portion that has this step.
      for (let more = true; more;) {
        const fault = breakAt(step, persisted);
        const outcome = await rollUps.rollUpNext('b', T + 3 * HOUR_MS).catch(() => 'failed');
        fault.restore();
        expect(outcome === 'failed').toBe(fault.happened());
        // `busy` while the server has not noticed that the connection is gone.
        const again = await until(async () => [await rollUps.rollUpNext('b', T + 3 * HOUR_MS)].find((next) => next !== 'busy'));
        more = again === 'more';
      }
      expect(await whole()).toEqual(rolled);
      expect(await sql(`SELECT FROM broker_metrics_late`)).toEqual([]);
    },
  );

  describe('removes', () => {
    /** A day so many days ago. */
    const dayMs = (ago: number) => (Math.floor(Date.now() / DAY_MS) - ago) * DAY_MS;
    const name = (ago: number) => `broker_metrics_${new Date(dayMs(ago)).toISOString().slice(0, 10).replaceAll('-', '')}`;
    const partitions = async () =>
      (
        await sql<{ name: string }>(
          `SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'broker_metrics'::regclass ORDER BY name`,
        )
      ).map((row) => row.name);

    it('days of values, the oldest first, once every broker in it is rolled up, and never before', async () => {
      await store('b', [
        ['m', dayMs(9), 1],
        ['m', dayMs(8) - 1, 2],
        ['m', dayMs(8), 3],
        ['m', dayMs(7), 4],
      ]);
      await store('gone', [['m', dayMs(9) + HOUR_MS, 1]]);
      const day = { partition: name(9), endMs: dayMs(8) };
      expect(await rollUps.dropOldestDay(7)).toEqual({ ...day, waitsFor: ['b', 'gone'] });
      await rollUps.rollUpNext('b', dayMs(8));
      expect(await rollUps.dropOldestDay(7)).toEqual({ ...day, waitsFor: ['b', 'gone'] });
      await rollUpAll(dayMs(8));
      expect(await rollUps.dropOldestDay(7)).toEqual({ ...day, waitsFor: ['gone'] });
      await rollUpAll(dayMs(8), 'gone');
      await sql(`INSERT INTO broker_metrics_late VALUES ('b', $1)`, [new Date(dayMs(8) - MINUTE_MS)]);
      expect(await rollUps.dropOldestDay(7)).toEqual({ ...day, waitsFor: ['b'] });
      await rollUpAll(dayMs(8));
      expect(await partitions()).toEqual([9, 8, 7].map(name));
      expect(await rollUps.dropOldestDay(7)).toEqual({ ...day, waitsFor: [] });
      expect(await partitions()).toEqual([8, 7].map(name));
      expect(await sql(`SELECT broker, raw_from FROM broker_metric_roll_ups ORDER BY broker`)).toEqual(
        ['b', 'gone'].map((broker) => ({ broker, raw_from: new Date(dayMs(8)) })),
      );
      expect(await rollUps.dropOldestDay(7)).toEqual({ partition: name(8), endMs: dayMs(7), waitsFor: ['b'] });
      await rollUpAll(dayMs(0));
      expect(await rollUps.dropOldestDay(7)).toMatchObject({ partition: name(8), waitsFor: [] });
      // The last of the seven days is not over yet.
      expect(await rollUps.dropOldestDay(7)).toBeUndefined();
      expect(await sql(`SELECT sum(count)::int AS n FROM broker_metrics_1h WHERE broker = 'b'`)).toEqual([{ n: 4 }]);
    });

    it('no day while a late value is being stored in it, and does not keep others waiting for long', async () => {
      await store('b', [['m', dayMs(9), 1]]);
      await rollUpAll(dayMs(0));
      const writer = connection.dataSource.createQueryRunner();
      await writer.startTransaction();
      await writer.query(`INSERT INTO broker_metrics (broker, metric, value, ts) VALUES ('b', 'm', 2, $1)`, [new Date(dayMs(9) + 1)]);
      await expect(rollUps.dropOldestDay(7)).rejects.toThrow(/lock timeout/);
      await writer.query(`INSERT INTO broker_metrics_late VALUES ('b', $1)`, [new Date(dayMs(9))]);
      await writer.commitTransaction();
      expect(await rollUps.dropOldestDay(7)).toMatchObject({ waitsFor: ['b'] });
      await rollUpAll(dayMs(0));
      // Somebody reads the day that is to go.
      await writer.startTransaction();
      await writer.query(`SELECT count(*) FROM broker_metrics`);
      const startMs = performance.now();
      const dropping = rollUps.dropOldestDay(7);
      await until(async () => (await sql(`SELECT FROM pg_locks WHERE NOT granted`)).length > 0);
      await sql(`SELECT count(*) FROM broker_metrics`); // waits behind it
      expect(performance.now() - startMs).toBeLessThan(2_000);
      await expect(dropping).rejects.toThrow(/lock timeout/);
      await writer.commitTransaction();
      await writer.release();
      expect(await rollUps.dropOldestDay(7)).toMatchObject({ waitsFor: [] });
    });

    it('minutes, in portions, of every broker, whole days that are in hours', async () => {
      for (const broker of ['b', 'c']) {
        await store(broker, [...busyHours(dayMs(93), 1), ...busyHours(dayMs(90) - HOUR_MS, 2)]);
        await rollUpAll(dayMs(60), broker);
      }
      const rolled = await whole();
      const old = rolled.minutes.filter((row) => (row['ts'] as Date).getTime() < dayMs(90)).length;
      const portions: number[] = [];
      do portions.push(await rollUps.trimMinutes(90, 100));
      while (portions.at(-1) === 100);
      expect(portions.slice(0, -1).every((portion) => portion === 100)).toBe(true);
      expect(portions.reduce((sum, portion) => sum + portion)).toBe(old);
      expect(await whole()).toEqual({
        hours: rolled.hours,
        minutes: rolled.minutes.filter((row) => (row['ts'] as Date).getTime() >= dayMs(90)),
      });
      expect(await sql(`SELECT DISTINCT minutes_from FROM broker_metric_roll_ups`)).toEqual([{ minutes_from: new Date(dayMs(90)) }]);
      // Not beyond what is rolled up, whatever is asked for; not what waits for a late value.
      await sql(`UPDATE broker_metric_roll_ups SET minutes_from = NULL, rolled_until = $1`, [new Date(dayMs(90) + 30 * MINUTE_MS)]);
      expect(await rollUps.trimMinutes(1, 10_000)).toBe(0);
      await sql(`UPDATE broker_metric_roll_ups SET rolled_until = $1`, [new Date(dayMs(1))]);
      await sql(`INSERT INTO broker_metrics_late SELECT unnest(ARRAY['b', 'c']), $1`, [new Date(dayMs(90))]);
      expect(await rollUps.trimMinutes(1, 10_000)).toBe(0);
    });

    it('asks of its caller no right but to call, and keeps a day at least', async () => {
      await store('b', [
        ['m', dayMs(9), 1],
        ['m', dayMs(3), 1],
      ]);
      await rollUpAll(dayMs(0));
      const caller = connection.dataSource.createQueryRunner();
      await caller.query(`CREATE ROLE remover_${process.pid} IN ROLE tallystick_watcher; SET ROLE remover_${process.pid}`);
      try {
        await expect(caller.query(`DROP TABLE ${name(9)}`)).rejects.toThrow(/must be owner/);
        expect(await caller.query(`SELECT partition FROM drop_broker_metrics_day(7)`)).toEqual([{ partition: name(9) }]);
        await expect(caller.query(`DELETE FROM broker_metrics_1m`)).rejects.toThrow(/permission denied/);
        expect(await caller.query(`SELECT trim_broker_metrics_1m(5, 100) AS removed`)).toEqual([{ removed: 1 }]);
        for (const call of ['drop_broker_metrics_day(0)', 'trim_broker_metrics_1m(0, 1)'])
          await expect(caller.query(`SELECT ${call}`)).rejects.toThrow(/too few/);
      } finally {
        await caller.query(`RESET ROLE; DROP ROLE remover_${process.pid}`);
        await caller.release();
      }
    });
  });
});

/** From the first to the last, by tens. */
function range(first: number, last: number): number[] {
  return Array.from({ length: Math.floor((last - first) / 10) + 1 }, (_, n) => first + n * 10);
}

/** Breaks the connection at the next statement of this kind: instead of sending it, or once the server has done it. */
function breakAt(step: RegExp, persisted: boolean): { happened: () => boolean; restore: () => void } {
  const { prototype } = pg.Client as unknown as { prototype: { query: (...args: unknown[]) => unknown } };
  const { query } = prototype;
  let happened = false;
  prototype.query = function (this: pg.Client, ...args) {
    const statement = args[0];
    if (happened || typeof statement !== 'string' || !step.test(statement)) return query.apply(this, args);
    happened = true;
    const lost = () => {
      (this as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
      throw new Error('Connection terminated by the test');
    };
    return persisted ? (query.apply(this, args) as Promise<unknown>).then(lost) : Promise.resolve().then(lost);
  };
  return { happened: () => happened, restore: () => (prototype.query = query) };
}
