import { createTestDatabase } from '@tallystick/testing';
import type { DataSource } from 'typeorm';
import { createDataSource } from './data-source.js';

describe('broker history', () => {
  let dataSource: DataSource;
  const sql = (text: string, values?: unknown[]) => dataSource.query<Record<string, unknown>[]>(text, values);
  beforeAll(async () => {
    dataSource = await createDataSource((await createTestDatabase()).url, { poolSize: 4 }).initialize();
  });
  afterAll(() => dataSource.destroy());

  it('has a partition a day for events and metrics, made once, whoever asks at the same time', async () => {
    const ask = () => sql(`SELECT ensure_history_partitions('2031-01-01T23:59Z', '2031-01-02T00:00Z') AS name`);
    const made = (await Promise.all([ask(), ask(), ask()])).flat().map((row) => row.name);
    expect(made.sort()).toEqual(['broker_metrics_20310101', 'broker_metrics_20310102', 'events_20310101', 'events_20310102']);
    expect(await ask()).toEqual([]);
    await expect(sql(`SELECT ensure_history_partitions('2031-01-01Z', '2040-01-01Z')`)).rejects.toThrow(/too long/);
    await sql(`INSERT INTO broker_metrics (broker, metric, value, ts) VALUES ('b', 'uptime', 1, '2031-01-01T23:59:59.999Z')`);
    await sql(`INSERT INTO events (broker, ts, action, received_at) VALUES ('b', '2020-01-01Z', 'unknown', '2031-01-02Z')`);
    expect(
      await sql(`SELECT tableoid::regclass::text AS name FROM broker_metrics UNION ALL SELECT tableoid::regclass::text FROM events`),
    ).toEqual([{ name: 'broker_metrics_20310101' }, { name: 'events_20310102' }]);
  });

  it('leaves readers alone while partitions are made', async () => {
    const reader = dataSource.createQueryRunner();
    await reader.startTransaction();
    await reader.query('SELECT count(*) FROM events');
    await sql(`SET lock_timeout = '2s'; SELECT ensure_history_partitions('2032-01-01Z', '2032-01-01Z')`);
    await reader.rollbackTransaction();
    await reader.release();
  });

  it('has at most one open session of a client', async () => {
    const open = (broker: string) => sql(`INSERT INTO sessions (broker, client, start_ts) VALUES ($1, 'c', now())`, [broker]);
    await open('b');
    await open('other');
    await expect(open('b')).rejects.toThrow(/sessions_open_key/);
    await sql(`UPDATE sessions SET end_ts = start_ts WHERE broker = 'b'`);
    await open('b');
  });
});
