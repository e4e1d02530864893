import { createDataSource, DatabaseConnection, MetricRollUps, poolOf } from '@tallystick/persistence';
import { createTestDatabase } from '@tallystick/testing';
import { readerOn } from '../../test/reader.js';
import type { Reader } from '../database/database.js';
import { ListRequest } from '../http/list.js';
import { findBroker, findDiagnostics } from './brokers.queries.js';
import type { SeriesDelta, SeriesKind, SeriesPoint } from './metrics.dto.js';
import { findHeartbeat, findSeries, listMetrics } from './metrics.queries.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Beginning of the UTC day five days ago, so that two days of values begin on the fourth. */
const T = (Math.floor(Date.now() / DAY_MS) - 5) * DAY_MS;
const END = T + 5 * DAY_MS;

/**
 * Five days of heartbeats every 10 s. The broker is silent for 40 minutes over an hour's border on the first day, and for 45 s within a
 * minute on the second; it restarts on the third, and on the fifth.
 */
const SILENT: [fromMs: number, toMs: number][] = [
  [T + 0.5 * DAY_MS + 35 * MINUTE_MS, T + 0.5 * DAY_MS + 75 * MINUTE_MS],
  [T + 1.25 * DAY_MS + 7_000, T + 1.25 * DAY_MS + 52_000],
];
const STARTED = [T - DAY_MS, T + 2.3 * DAY_MS, T + 4.7 * DAY_MS + 17 * MINUTE_MS];

const HISTORY = [
  `SELECT ensure_history_partitions($1::timestamptz, $2::timestamptz)`,
  `INSERT INTO broker_metrics (broker, metric, ts, value)
   SELECT 'b', 'uptime', t, extract(epoch FROM t - (SELECT max(s) FROM unnest($4::timestamptz[]) s WHERE s <= t))::int
   FROM generate_series($1::timestamptz, $2::timestamptz - interval '1 s', interval '10 s') t
   WHERE NOT EXISTS (SELECT FROM unnest($3::timestamptz[], $5::timestamptz[]) AS s (a, b) WHERE t > s.a AND t < s.b)`,
  // A gauge in every third round, a counter in every round, and one that changed on the first day only.
  `INSERT INTO broker_metrics (broker, metric, ts, value)
   SELECT 'b', 'clients/connected', ts + interval '400 ms', extract(epoch FROM ts)::bigint / 30 % 97 FROM broker_metrics
   WHERE metric = 'uptime' AND extract(epoch FROM ts)::bigint % 30 = 0`,
  `INSERT INTO broker_metrics (broker, metric, ts, value)
   SELECT 'b', 'messages/received', ts - interval '300 ms', value * 7 FROM broker_metrics WHERE metric = 'uptime' AND ts > $1`,
  `INSERT INTO broker_metrics (broker, metric, ts, value)
   VALUES ('b', 'subscriptions/count', $1::timestamptz + interval '5 minutes', 3), ('b', 'subscriptions/count', $1::timestamptz + interval '9 hours', 4)`,
];

describe('metrics that are rolled up', () => {
  let connection: DatabaseConnection;
  let rollUps: MetricRollUps;
  let read: Reader;
  beforeAll(async () => {
    connection = new DatabaseConnection(createDataSource((await createTestDatabase()).url), { allowDataLoss: true });
    await connection.connect();
    read = readerOn(poolOf(connection.dataSource));
    rollUps = new MetricRollUps(connection);
    const dates = (ms: number[]) => ms.map((each) => new Date(each));
    const all = [new Date(T), new Date(END), dates(SILENT.map(([from]) => from)), dates(STARTED), dates(SILENT.map(([, to]) => to))];
    for (const statement of HISTORY) {
      const most = Math.max(0, ...[...statement.matchAll(/\$(\d)/g)].map((match) => Number(match[1])));
      await read(statement, all.slice(0, most));
    }
    await read(`INSERT INTO broker_state (broker) VALUES ('b')`);
    await read('VACUUM ANALYZE');
  }, 120_000);
  afterAll(() => connection.close());

  /** In steps of which the range has so many. */
  const ask = (broker: string, metric: string, as: SeriesKind, fromMs: number, toMs: number, points: number) => {
    const stepMs = Math.max(1_000, Math.ceil((toMs - fromMs) / points));
    return findSeries(read, broker, { metric, as, from: new Date(fromMs), to: new Date(toMs), stepMs, nowMs: Date.now() });
  };
  const series = async (metric: string, fromMs: number, toMs: number, points: number) => {
    const answer = await ask('b', metric, 'value', fromMs, toMs, points);
    return { ...answer, points: answer.points as SeriesPoint[] };
  };
  async function rollUpAll(untilMs: number, portionMs?: number): Promise<void> {
    while ((await rollUps.rollUpNext('b', untilMs, portionMs)) === 'more');
  }

  /** Ranges around every silence and restart, and over everything, in steps of values, minutes and hours. */
  const EVENTS = [...SILENT.flat(), ...STARTED.slice(1)];
  const ASKED: [fromMs: number, toMs: number, points: number][] = [
    ...EVENTS.flatMap((ms): [number, number, number][] => [
      [ms - 2 * HOUR_MS + 123_456, ms + 3 * HOUR_MS + 7, 2_000],
      [ms - 2 * HOUR_MS + 123_456, ms + 3 * HOUR_MS + 7, 200],
      [ms - 20 * HOUR_MS, ms + 20 * HOUR_MS, 30],
    ]),
    [T - HOUR_MS, END, 2_000],
    [T - HOUR_MS, END, 500],
    [T - HOUR_MS, END, 100],
    [T + 12_345, END - 54_321, 77],
    [END - 3 * HOUR_MS, END, 1_000],
    [END - 3 * HOUR_MS, END, 100],
  ];
  const COUNTER = 'messages/received';
  const METRICS = ['clients/connected', 'messages/received', 'subscriptions/count', 'uptime'];

  /** The series of each range that is asked for, as text. */
  async function answers(asked = ASKED): Promise<string[]> {
    const all: string[] = [];
    for (const [fromMs, toMs, points] of asked) {
      for (const metric of METRICS) {
        const answer = await series(metric, fromMs, toMs, points);
        expect(answer.points.length).toBeLessThanOrEqual(points + 1); // begun in a whole minute or hour
        const shown = answer.points.map(({ ts, avg, ...point }) => `${ts.toISOString()} ${avg.toFixed(6)} ${JSON.stringify(point)}`);
        all.push(`${metric} ${answer.from.toISOString()} ${answer.stepMs}\n${shown.join('\n')}`);
      }
      for (const as of ['delta', 'rate'] as const) all.push(JSON.stringify(await ask('b', COUNTER, as, fromMs, toMs, points)));
    }
    return all;
  }

  it('give the same series as the values do: gaps as gaps, restarts, and what lies on both sides of a border', async () => {
    const ofValues = await answers();
    // The silence and what followed it: nothing until the metric came again.
    const [silentFromMs] = SILENT[0]!;
    const { points } = await series('subscriptions/count', silentFromMs - HOUR_MS, silentFromMs + 3 * HOUR_MS, 240);
    expect(points.at(-1)!.ts).toEqual(new Date(silentFromMs));
    expect(points.every((point) => point.last === 4 && point.count === 0)).toBe(true);

    // Rolled up to the middle of a silence, then to a place within an hour, then to the end but for a late value.
    await rollUpAll(T + 0.5 * DAY_MS + 70 * MINUTE_MS);
    expect(await answers()).toEqual(ofValues);
    await rollUpAll(T + 4.7 * DAY_MS + 20 * MINUTE_MS);
    await rollUpAll(T + 4.7 * DAY_MS + 20 * MINUTE_MS, MINUTE_MS);
    expect(await answers()).toEqual(ofValues);
    await rollUpAll(END);
    expect(await answers()).toEqual(ofValues);
    await read(`INSERT INTO broker_metrics_late VALUES ('b', $1)`, [new Date(T + 3.5 * DAY_MS + 90_000)]);
    expect(await answers()).toEqual(ofValues);
    await rollUpAll(END);
  }, 300_000);

  it('rise by the same in steps of values, minutes and hours, each of which says what it is made of', async () => {
    // Around both silences and a restart, from a whole hour to a whole hour.
    const ranges: [number, number][] = [
      [T + 0.5 * DAY_MS, T + 0.5 * DAY_MS + 3 * HOUR_MS],
      [T + 1.25 * DAY_MS - HOUR_MS, T + 1.25 * DAY_MS + HOUR_MS],
      [T + 112 * HOUR_MS, T + 115 * HOUR_MS],
    ];
    for (const [fromMs, toMs] of ranges) {
      const [counted] = await read<{ whole: number }>(
        `SELECT sum(CASE WHEN value < before THEN value ELSE value - before END) AS whole
         FROM (SELECT value, ts, lag(value) OVER (ORDER BY ts, id) AS before FROM broker_metrics WHERE broker = 'b' AND metric = $1) v
         WHERE ts >= $2 AND ts < $3`,
        [COUNTER, new Date(fromMs), new Date(toMs)],
      );
      expect(counted!.whole).toBeGreaterThan(0);
      const seen: [string, number][] = [];
      for (const stepMs of [10_000, 15_000, MINUTE_MS, 6 * MINUTE_MS, HOUR_MS]) {
        const { points, resolution } = await ask('b', COUNTER, 'delta', fromMs, toMs, (toMs - fromMs) / stepMs);
        seen.push([resolution, (points as SeriesDelta[]).reduce((sum, { delta }) => sum + delta, 0)]);
      }
      expect(seen).toEqual(['value', 'value', 'minute', 'minute', 'hour'].map((resolution) => [resolution, counted!.whole]));
    }
  });

  it('give it still when the values, and then the minutes, have been removed', async () => {
    const inMinutes = ASKED.filter(([fromMs, toMs, points]) => (toMs - fromMs) / points >= MINUTE_MS);
    const inHours = ASKED.filter(([fromMs, toMs, points]) => (toMs - fromMs) / points >= HOUR_MS);
    const [ofMinutes, ofHours] = [await answers(inMinutes), await answers(inHours)];
    expect([inMinutes.length, inHours.length]).toEqual([17, 8]);
    while ((await rollUps.dropOldestDay(2))?.waitsFor.length === 0);
    expect(await read(`SELECT raw_from FROM broker_metric_roll_ups`)).toEqual([{ raw_from: new Date(T + 3 * DAY_MS) }]);
    expect(await answers(inMinutes)).toEqual(ofMinutes);
    // Where values are gone steps are no shorter than what is there.
    expect((await series('uptime', T + DAY_MS, T + DAY_MS + 10 * MINUTE_MS, 500)).stepMs).toBe(MINUTE_MS);
    expect((await series('uptime', T + 3 * DAY_MS, T + 3 * DAY_MS + 10 * MINUTE_MS, 500)).stepMs).toBe(1_200);
    await rollUps.trimMinutes(4, 1_000_000);
    expect(await answers(inHours)).toEqual(ofHours);
    const { stepMs, from, points } = await series('messages/received', T + 12 * MINUTE_MS, T + 3 * HOUR_MS, 500);
    expect([stepMs, from, points.length]).toEqual([HOUR_MS, new Date(T), 3]);
  }, 300_000);

  it('find the latest value of a metric that has been silent for longer than values are kept', async () => {
    const list = async (limit: number, cursor?: string) => listMetrics(read, 'b', new ListRequest('list', ['text'], { limit, cursor }));
    const { items } = await list(500);
    const latest = new Map(items.map(({ metric, value, ts }) => [metric, [value, ts.getTime() - T]]));
    expect([...latest.keys()]).toEqual(METRICS);
    expect(latest.get('subscriptions/count')).toEqual([4, 9 * HOUR_MS]);
    expect(latest.get('uptime')![1]).toBe(5 * DAY_MS - 10_000);
    const first = await list(2);
    const second = await list(2, first.nextCursor!);
    expect([...first.items, ...second.items].map(({ metric }) => metric)).toEqual(METRICS);
    expect(second.nextCursor).toBeNull();

    // Two that no hour has yet: one of now, and one that came late.
    const values = [new Date(END + MINUTE_MS), new Date(T + 4 * DAY_MS)];
    await read(`SELECT ensure_history_partitions($1, $1)`, [values[0]]);
    await read(`INSERT INTO broker_metrics (broker, metric, value, ts) VALUES ('b', 'new/now', 1, $1), ('b', 'new/late', 2, $2)`, values);
    const names = async () => (await list(500)).items.map(({ metric }) => metric).filter((metric) => metric.startsWith('new/'));
    expect(await names()).toEqual(['new/now']);
    await read(`INSERT INTO broker_metrics_late VALUES ('b', $1)`, [values[1]]);
    expect(await names()).toEqual(['new/late', 'new/now']);
    await read(`DELETE FROM broker_metrics_late`);
    await read(`DELETE FROM broker_metrics WHERE metric LIKE 'new/%'`);

    await read(`DELETE FROM broker_metrics WHERE metric = 'clients/connected'`);
    const { connectedClients, connectedClientsAt } = await findDiagnostics(read, (await findBroker(read, 'b'))!);
    expect(connectedClients).toBe((await series('clients/connected', END - HOUR_MS, END, 1)).points[0]!.last);
    expect(connectedClientsAt!.getTime()).toBeGreaterThan(END - MINUTE_MS);
  });

  it('begin with a value that came months ago, as long as the heart has been beating since', async () => {
    // By hour only, from 100 days ago on: published once, heard ever since; and the same with a restart in between.
    for (const [broker, broken] of [
      ['steady', null],
      ['restarted', new Date(T - 50 * DAY_MS + 1_800_000)],
    ] as const) {
      await read(
        `INSERT INTO broker_metrics_1h SELECT $1, 'uptime', t, 1, 2, 1.5, 1, 2, 1, 360, t, t + interval '3590 s', interval '10 s',
           CASE WHEN $4::timestamptz BETWEEN t AND t + interval '1 hour' THEN $4::timestamptz END
         FROM generate_series($2::timestamptz, $3::timestamptz - interval '1 hour', interval '1 hour') t`,
        [broker, new Date(T - 100 * DAY_MS), new Date(END), broken],
      );
      await read(`UPDATE broker_metrics_1h SET first = extract(epoch FROM ts), last = extract(epoch FROM ts) + 3590 WHERE broker = $1`, [
        broker,
      ]);
      await read(`INSERT INTO broker_metrics_1h VALUES ($1, 'retained messages/count', $2, 8, 8, 8, 8, 8, 0, 1, $2, $2)`, [
        broker,
        new Date(T - 90 * DAY_MS),
      ]);
      await read(`INSERT INTO broker_metric_roll_ups VALUES ($1, $2, $2, $2)`, [broker, new Date(END)]);
    }
    const valuesOf = async (broker: string) =>
      ((await ask(broker, 'retained messages/count', 'value', END - DAY_MS, END, 24)).points as SeriesPoint[]).map(
        ({ last, count }) => `${last} x${count}`,
      );
    expect(await valuesOf('steady')).toEqual(Array.from({ length: 24 }, () => '8 x0'));
    expect(await valuesOf('restarted')).toEqual([]);
    // Nothing is left of its values but the hours: it was heard at the end of the last, which is long ago.
    expect(await findHeartbeat(read, 'steady')).toEqual({ at: new Date(END - 10_000), isStale: true });
  });
});
