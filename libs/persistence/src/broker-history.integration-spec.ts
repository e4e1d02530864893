import { createTestDatabase } from '@tallystick/testing';
import type { DataSource } from 'typeorm';
import { createDataSource } from './data-source.js';
import { DerivedHistory1793000000010 } from './migrations/1793000000010-derived-history.js';

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

  const counted = (table: string, column: string, amount: string, broker: string) =>
    sql(
      `SELECT bucket || ' ' || to_char(start_ts AT TIME ZONE 'UTC', 'DD HH24:MI') || ' ' || ${column} || ' ' || ${amount} AS line
       FROM ${table} WHERE broker = $1 AND ${amount} <> 0 ORDER BY line`,
      [broker],
    ).then((rows) => rows.map((row) => row.line));
  const eventCounts = (broker: string) => counted('event_counts', 'action', 'events', broker);
  const endCounts = (broker: string) => counted('session_end_counts', 'end_reason', 'sessions', broker);

  /** By a writer whose time zone is 5 hours and 45 minutes ahead. */
  const addEvents = (broker: string, ...events: [string, string][]) =>
    dataSource.transaction(async (manager) => {
      await manager.query(`SET LOCAL TIME ZONE 'Asia/Kathmandu'`);
      await manager.query(
        `INSERT INTO events (broker, ts, action, received_at) SELECT $1, t, a, '2031-01-02Z' FROM unnest($2::timestamptz[], $3::text[]) AS e (t, a)`,
        [broker, events.map(([time]) => `2031-01-${time}Z`), events.map(([, action]) => action)],
      );
    });

  it('counts events in the transaction that writes them, by minutes and hours of UTC', async () => {
    await addEvents(
      'counted',
      ['02T10:00', 'connected'],
      ['02T10:00:59', 'connected'],
      ['02T10:59', 'subscribe'],
      ['02T11:00', 'connected'],
    );
    await addEvents('counted', ['02T10:00:30', 'connected'], ['01T23:59:59', 'unknown']);
    const expected = [
      ...['hour 01 23:00 unknown 1', 'hour 02 10:00 connected 3', 'hour 02 10:00 subscribe 1', 'hour 02 11:00 connected 1'],
      ...['minute 01 23:59 unknown 1', 'minute 02 10:00 connected 3', 'minute 02 10:59 subscribe 1', 'minute 02 11:00 connected 1'],
    ];
    expect(await eventCounts('counted')).toEqual(expected);
    await expect(
      dataSource.transaction(async (manager) => {
        await manager.query(
          `INSERT INTO events (broker, ts, action, received_at) VALUES ('counted', '2031-01-02Z', 'connected', '2031-01-02Z')`,
        );
        throw new Error('given up');
      }),
    ).rejects.toThrow('given up');
    expect(await eventCounts('counted')).toEqual(expected);
  });

  it('counts ends of sessions once, however often a session is written, and follows what is corrected', async () => {
    await sql(`INSERT INTO sessions (broker, client, start_ts, end_ts, end_reason) VALUES
      ('ends', 'a', '2031-01-02T10:00Z', NULL, NULL), ('ends', 'b', '2031-01-02T10:00Z', NULL, NULL), ('ends', 'c', '2031-01-02T10:00Z', '2031-01-02T10:01Z', 'network')`);
    const close = (client: string, end: string, reason: string) =>
      sql(`UPDATE sessions SET end_ts = $2, end_reason = $3 WHERE broker = 'ends' AND client = $1`, [client, `2031-01-02T${end}Z`, reason]);
    await close('a', '10:01', 'taken_over');
    await close('b', '11:00', 'network');
    await close('b', '11:00', 'network'); // a commit of unknown outcome, tried again
    await sql(`UPDATE sessions SET username = 'u', end_uncertain = true WHERE broker = 'ends'`);
    expect(await endCounts('ends')).toEqual([
      ...['hour 02 10:00 network 1', 'hour 02 10:00 taken_over 1', 'hour 02 11:00 network 1'],
      ...['minute 02 10:01 network 1', 'minute 02 10:01 taken_over 1', 'minute 02 11:00 network 1'],
    ]);
    await close('a', '10:01', 'network');
    await sql(`UPDATE sessions SET end_ts = NULL, end_reason = NULL WHERE broker = 'ends' AND client = 'c'`);
    expect(await endCounts('ends')).toEqual([
      ...['hour 02 10:00 network 1', 'hour 02 11:00 network 1', 'minute 02 10:01 network 1', 'minute 02 11:00 network 1'],
    ]);
    await sql(`DELETE FROM sessions WHERE broker = 'ends'`);
    expect(await endCounts('ends')).toHaveLength(4);
  });

  it('has counted what was there before its counts were made', async () => {
    await addEvents('earlier', ['02T10:00', 'connected'], ['02T10:59', 'connected'], ['02T10:59:30', 'connected']);
    await sql(`INSERT INTO sessions (broker, client, start_ts, end_ts, end_reason) VALUES
      ('earlier', 'a', '2031-01-02T10:00Z', '2031-01-02T10:01Z', 'network'), ('earlier', 'b', '2031-01-02T10:00Z', '2031-01-02T10:01Z', NULL),
      ('earlier', 'c', '2031-01-02T10:00Z', NULL, NULL)`);
    const migration = new DerivedHistory1793000000010();
    const indexes = () => sql(`SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'sessions' ORDER BY indexname`);
    const [before, runner] = [await indexes(), dataSource.createQueryRunner()];
    await runner.startTransaction();
    await migration.down(runner);
    await migration.up(runner);
    await runner.commitTransaction();
    await runner.release();
    expect(await indexes()).toEqual(before);
    expect(await eventCounts('earlier')).toEqual([
      ...['hour 02 10:00 connected 3', 'minute 02 10:00 connected 1', 'minute 02 10:59 connected 2'],
    ]);
    expect(await endCounts('earlier')).toEqual([
      ...['hour 02 10:00 network 1', 'hour 02 10:00 unknown 1', 'minute 02 10:01 network 1', 'minute 02 10:01 unknown 1'],
    ]);
    await addEvents('earlier', ['02T10:00', 'connected']);
    expect(await eventCounts('earlier')).toContain('hour 02 10:00 connected 4');
  });
});
