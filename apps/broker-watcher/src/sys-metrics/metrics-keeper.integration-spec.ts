import { Logger } from '@nestjs/common';
import { Metrics } from '@tallystick/observability';
import { createDataSource, DatabaseConnection, MetricRollUps } from '@tallystick/persistence';
import { createTestDatabase, until } from '@tallystick/testing';
import { BrokerWatcherConfig } from '../broker-watcher.config.js';
import { HistoryRepository } from '../recording/history.repository.js';
import { WatcherMetrics } from '../watcher.metrics.js';
import { MetricValuesRepository } from './metric-values.repository.js';
import { MetricsKeeper } from './metrics-keeper.js';
import { MetricsWriter } from './metrics-writer.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

describe('metrics, from receipt to removal', () => {
  let connection: DatabaseConnection;
  let rollUps: MetricRollUps;
  let writer: MetricsWriter;
  let keeper: MetricsKeeper;
  let counted: Metrics;
  let config: BrokerWatcherConfig;
  let said: { message: string; [key: string]: unknown }[];
  const sql = (text: string, values?: unknown[]): Promise<Record<string, unknown>[]> => connection.dataSource.query(text, values);

  beforeEach(async () => {
    connection = new DatabaseConnection(createDataSource((await createTestDatabase()).url, { poolSize: 4 }), { allowDataLoss: true });
    await connection.connect();
    config = Object.assign(new BrokerWatcherConfig(), { brokerName: 'b', metricsRawDays: 2, metrics1mDays: 5, mqtt: { clientId: 'w' } });
    rollUps = new MetricRollUps(connection);
    counted = new Metrics();
    writer = new MetricsWriter(
      new MetricValuesRepository(connection, config),
      new HistoryRepository(connection, config),
      new WatcherMetrics(counted),
    );
    keeper = new MetricsKeeper(rollUps, writer, config);
    said = [];
    const note = (message: string, detail: object) => void said.push({ ...(typeof detail === 'object' ? detail : {}), message });
    Logger.overrideLogger({ log: note, warn: note, error: note });
  });
  afterEach(async () => {
    keeper.onModuleDestroy();
    Logger.overrideLogger(false);
    await connection.close();
  });

  const take = (metric: string, receivedAtMs: number, value = 1) => writer.take({ metric, value, receivedAtMs });
  const rollUpAll = async (untilMs: number) => {
    while ((await rollUps.rollUpNext('b', writer.settle(untilMs))) === 'more');
  };
  const minutes = async () =>
    (await sql(`SELECT ts, count FROM broker_metrics_1m ORDER BY ts`)).map(({ ts, count }) => [+(ts as Date), count]);
  const days = async () => (await sql(`SELECT count(DISTINCT tableoid)::int AS n FROM broker_metrics`))[0]!['n'];

  it('are not rolled up beyond one that waits for the database, and noted when they come for a time that is', async () => {
    const t = Math.floor(Date.now() / DAY_MS) * DAY_MS;
    take('m', t + 1_000);
    expect(writer.settle(t + HOUR_MS)).toBe(t + 1_000);
    await sql(`ALTER TABLE broker_metrics RENAME TO away`);
    await writer.write();
    expect(writer.settle(t + HOUR_MS)).toBe(t + 1_000);
    await sql(`ALTER TABLE away RENAME TO broker_metrics`);
    // Not while it is under way either.
    await writer.write();
    await writer.write();
    const writing = (take('m', t + 2_000), writer.write());
    expect(writer.settle(t + HOUR_MS)).toBe(t + 2_000);
    await writing;
    expect(writer.settle(t + HOUR_MS)).toBe(t + HOUR_MS);
    await rollUpAll(t + HOUR_MS);
    expect(await minutes()).toEqual([[t, 2]]);
    expect(await sql(`SELECT FROM broker_metrics_late`)).toEqual([]);

    // The clock was set back.
    for (const second of [30, 31, 61]) take('m', t + second * 1_000);
    take('m', t + HOUR_MS + 1);
    await writer.write();
    expect(await sql(`SELECT ts FROM broker_metrics_late ORDER BY ts`)).toEqual([{ ts: new Date(t) }, { ts: new Date(t + MINUTE_MS) }]);
    take('m', t + 32_000);
    await writer.write();
    await rollUpAll(t + 2 * HOUR_MS);
    expect(await minutes()).toEqual([
      [t, 5],
      [t + MINUTE_MS, 1],
      [t + HOUR_MS, 1],
    ]);
    expect(await sql(`SELECT FROM broker_metrics_late`)).toEqual([]);
  });

  it('are in the roll-up, whenever they come: many, in any order, while it is at work', async () => {
    const t = Math.floor(Date.now() / DAY_MS) * DAY_MS;
    await sql(`SELECT ensure_history_partitions($1, $1)`, [new Date(t)]);
    await rollUpAll(t + HOUR_MS);
    let going = true;
    const rolling = (async () => {
      for (let untilMs = t; going; untilMs += MINUTE_MS) await rollUps.rollUpNext('b', writer.settle(Math.min(untilMs, t + 3 * HOUR_MS)));
    })();
    for (let n = 0; n < 300; n++) {
      for (let i = 0; i < 5; i++) take(`m${i}`, t + Math.floor(Math.random() * 3 * HOUR_MS), n);
      await writer.write();
    }
    going = false;
    await rolling;
    await rollUpAll(t + 3 * HOUR_MS);
    expect(await sql(`SELECT sum(count)::int AS n FROM broker_metrics_1m`)).toEqual([{ n: 1_500 }]);
    expect(await sql(`SELECT FROM broker_metrics_late`)).toEqual([]);
  });

  it('are stored when a clock that was set right has left years between two of them', async () => {
    const now = Date.now();
    for (const ago of [0, 1, 500, 4_000]) take('m', now - ago * DAY_MS);
    await writer.write();
    await writer.write();
    expect(await sql(`SELECT count(*)::int AS n FROM broker_metrics`)).toEqual([{ n: 4 }]);
    expect(await days()).toBe(4);
  });

  it('have a bound: what has one name too many is counted, and warned of once', async () => {
    for (let n = 0; n < 1_500; n++) take(`connection/${n}/state`, Date.now());
    for (let n = 0; n < 1_500; n++) take(`connection/${n}/state`, Date.now());
    await writer.write();
    await writer.write();
    expect(await sql(`SELECT count(*)::int AS n, count(DISTINCT metric)::int AS names FROM broker_metrics`)).toEqual([
      { n: 2_000, names: 1_000 },
    ]);
    expect(await counted.registry.getSingleMetricAsString('broker_sys_values_total')).toContain('{result="unnamed"} 1000');
    expect(said.filter(({ message }) => message.startsWith('too many metrics'))).toEqual([
      expect.objectContaining({ metric: 'connection/1000/state' }),
    ]);
  });

  it('wait for no lock for ever, and leave nothing in the server that does', async () => {
    take('m', Date.now());
    await writer.write();
    const stuck = connection.dataSource.createQueryRunner();
    await stuck.startTransaction();
    await stuck.query(`LOCK TABLE broker_metrics IN SHARE MODE`);
    await writer.write();
    expect(said).toMatchObject([{ reason: expect.stringMatching(/lock timeout/) }]);
    expect(await sql(`SELECT query FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)).toEqual([]);
    await stuck.rollbackTransaction();
    await stuck.release();
    await writer.write();
    expect(await sql(`SELECT count(*)::int AS n FROM broker_metrics`)).toEqual([{ n: 1 }]);
  });

  it('are rolled up and removed by the process itself, also those of a broker that nobody watches any more', async () => {
    const today = Math.floor(Date.now() / DAY_MS) * DAY_MS;
    for (const ago of [9, 6, 4, 3, 2, 1]) take('m', today - ago * DAY_MS + 1_000, ago);
    await writer.write();
    await writer.write();
    await sql(`INSERT INTO broker_metrics (broker, metric, value, ts) VALUES ('gone', 'm', 7, $1)`, [new Date(today - 6 * DAY_MS)]);
    keeper.start();
    await until(async () => (await sql(`SELECT min(minutes_from) AS m FROM broker_metric_roll_ups`))[0]!['m'] !== null);
    await until(() => said.some(({ message }) => message === 'metrics by minute were removed'));
    expect(await sql(`SELECT broker, value FROM broker_metrics ORDER BY ts`)).toEqual([2, 1].map((value) => ({ broker: 'b', value })));
    expect(await sql(`SELECT broker, last FROM broker_metrics_1m ORDER BY broker, ts`)).toEqual(
      [4, 3, 2, 1].map((last) => ({ broker: 'b', last })),
    );
    expect(await sql(`SELECT broker, last FROM broker_metrics_1h ORDER BY broker, ts`)).toEqual([
      ...[9, 6, 4, 3, 2, 1].map((last) => ({ broker: 'b', last })),
      { broker: 'gone', last: 7 },
    ]);
    const removed = said.filter(({ message }) => message === 'metric values were removed').map(({ partition }) => partition);
    expect(removed).toEqual(
      [9, 6, 4, 3].map((ago) => `broker_metrics_${new Date(today - ago * DAY_MS).toISOString().slice(0, 10).replaceAll('-', '')}`),
    );
  });

  it('are left as they are, with a warning, when they cannot be rolled up', async () => {
    take('m', Date.now() - 4 * DAY_MS);
    await writer.write();
    await writer.write();
    await sql(`ALTER TABLE broker_metrics_1m RENAME TO broken`);
    keeper.start();
    await until(() => said.some(({ message }) => message.startsWith('metrics could not be rolled up or removed now')));
    take('m', Date.now());
    await writer.write();
    await writer.write();
    expect(await days()).toBe(2);
    await sql(`ALTER TABLE broken RENAME TO broker_metrics_1m`);
    // As a minute later.
    keeper.onModuleDestroy();
    keeper = new MetricsKeeper(rollUps, writer, config);
    keeper.start();
    await until(async () => (await days()) === 1);
    expect(await sql(`SELECT count(*)::int AS n FROM broker_metrics_1h`)).toEqual([{ n: 1 }]);
  });

  it('are rolled up minute by minute when there are too many to be rolled up together', async () => {
    const hour = Math.floor(Date.now() / HOUR_MS - 2) * HOUR_MS;
    for (let minute = 0; minute < 60; minute++) take('m', hour + minute * MINUTE_MS);
    await writer.write();
    await writer.write();
    await sql(`CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END $$`);
    await sql(`CREATE TRIGGER slowly BEFORE INSERT ON broker_metrics_1m FOR EACH ROW EXECUTE FUNCTION slowly()`);
    keeper = new MetricsKeeper(new MetricRollUps(connection, 500), writer, config);
    keeper.start();
    await until(async () => (await minutes()).length === 60);
    expect(await sql(`SELECT count FROM broker_metrics_1h`)).toEqual([{ count: 60 }]);
    expect(said).toEqual([]);
  });
});
