import { topicFilterProblem, topicMatches } from '@tallystick/mqtt';
import { createTestDatabase } from '@tallystick/testing';
import fc from 'fast-check';
import pg from 'pg';
import { planned, readingOf, rowsRead } from '../../test/plans.js';
import { readerOn, readingAs } from '../../test/reader.js';
import type { Reader } from '../database/database.js';
import type { CursorKey } from '../http/cursor.js';
import { ListRequest, type Page } from '../http/list.js';
import { findBroker, findDetails, findDiagnostics, listGaps } from './brokers.queries.js';
import { bucketSpan } from './event-buckets.js';
import { countEvents } from './event-counts.queries.js';
import { type EventsFilter, listEvents } from './events.queries.js';
import { findClientDetails } from './client-details.queries.js';
import type { SeriesKind, SeriesPoint } from './metrics.dto.js';
import { findHeartbeat, findSeries, listMetrics } from './metrics.queries.js';
import { listClientStats, listDayStats } from './session-stats.queries.js';
import { listClients, listSessions, type SessionsFilter } from './sessions.queries.js';
import { listMatches } from './subscription-matches.queries.js';
import { listSubscriptions, type SubscriptionsFilter } from './subscriptions.queries.js';

const DAY = '2026-11-';
const at = (time: string) => new Date(`${DAY}${time}Z`);

/** 100,000 events and 100,000 sessions of 2,000 clients, 120,000 metric values of 60 metrics, all within three days. */
const ROWS = [
  `SELECT ensure_history_partitions('${DAY}18Z', '${DAY}20T23:59Z')`,
  `INSERT INTO broker_state (broker, version, watcher, watched_until, capabilities) VALUES
     ('big', 'mosquitto version 2.0.22', 'client-0001', now() + interval '1 hour', '{"advice": [{"code": "c", "problem": "p", "lines": ["l"]}], "unknownShapes": {"rare": 1, "often": 9}}'),
     ('small', NULL, NULL, NULL, '{}')`,
  `INSERT INTO clients (broker, client, first_seen, last_seen)
   SELECT 'big', 'client-' || lpad(n::text, 4, '0'), '${DAY}18Z', '${DAY}20Z' FROM generate_series(0, 1999) n`,
  // Every 50th second one of each action; client and action are independent.
  `INSERT INTO events (broker, ts, action, client, topic, raw, received_at)
   SELECT CASE WHEN n % 10 = 9 THEN 'small' ELSE 'big' END, t, CASE WHEN n % 10000 = 77 THEN 'checkpoint' WHEN n % 2 = 0 THEN 'connected' ELSE 'disconnected' END,
     'client-' || lpad((n * 7 % 2000)::text, 4, '0'), NULL, n || ': a line', t + interval '20 ms'
   FROM generate_series(0, 99999) n, LATERAL (SELECT timestamptz '${DAY}18Z' + n / 2 * interval '5 s' AS t) x`,
  `INSERT INTO sessions (broker, client, start_ts, end_ts, end_reason, ended_by)
   SELECT CASE WHEN n % 10 = 9 THEN 'small' ELSE 'big' END, 'client-' || lpad((n * 7 % 2000)::text, 4, '0'), t, t + interval '1 minute',
     CASE WHEN n % 10000 = 77 THEN 'malformed' ELSE 'network' END, 'network'
   FROM generate_series(0, 99999) n, LATERAL (SELECT timestamptz '${DAY}18Z' + n / 2 * interval '5 s' AS t) x`,
  `INSERT INTO sessions (broker, client, start_ts) SELECT 'big', 'client-000' || n, '${DAY}20T23:00Z' FROM generate_series(0, 4) n`,
  // Every metric every 120 s; uptime is metric 0 and counts seconds.
  `INSERT INTO broker_metrics (broker, metric, value, ts)
   SELECT 'big', CASE WHEN m = 0 THEN 'uptime' ELSE 'metric/' || lpad(m::text, 2, '0') END, n * 120, timestamptz '${DAY}18Z' + n * interval '120 s'
   FROM generate_series(0, 2000) n, generate_series(0, 59) m`,
  `INSERT INTO subscriptions (broker, client, topic, qos)
   SELECT 'big', 'client-' || lpad((n % 2000)::text, 4, '0'), 'devices/' || n || '/commands', 1 FROM generate_series(0, 49999) n`,
  `INSERT INTO subscriptions (broker, client, topic, qos)
   SELECT 'big', 'client-' || lpad(n::text, 4, '0'), '$share/workers/group/+/x', 1 FROM generate_series(0, 299) n`,
  `INSERT INTO observation_gaps (broker, from_ts, to_ts, reason) VALUES
     ('big', '${DAY}18T10:00Z', '${DAY}18T11:00Z', 'watcher_down'), ('big', '${DAY}19T10:00Z', '${DAY}19T10:00Z', 'queue_overflow'),
     ('big', '${DAY}19T12:00Z', '${DAY}19T13:00Z', 'log_expired'), ('small', '${DAY}19T12:00Z', '${DAY}19T13:00Z', 'log_expired')`,
  'VACUUM ANALYZE events, sessions, broker_metrics, subscriptions, clients',
];

describe('reading the history of a broker', () => {
  let sql: pg.Client;
  let read: Reader;
  const list = (kinds: CursorKey[], limit = 50) => new ListRequest('list', kinds, { limit });

  beforeAll(async () => {
    sql = new pg.Client({ connectionString: (await createTestDatabase()).url });
    // The end of the file drops the database under it.
    sql.on('error', () => undefined);
    await sql.connect();
    read = readerOn(sql);
    for (const statement of ROWS) await sql.query(statement);
  }, 120_000);
  afterAll(() => sql.end());

  const LARGE = /^(events|sessions|broker_metrics|subscriptions|clients)/;
  const events = (filter: EventsFilter) => (reader: Reader) => listEvents(reader, 'big', filter, list(['time', 'bigint']));
  const sessions = (filter: SessionsFilter) => (reader: Reader) => listSessions(reader, 'big', filter, list(['time', 'bigint']));
  const subscriptions = (filter: Partial<SubscriptionsFilter>) => (reader: Reader) =>
    listSubscriptions(reader, 'big', { active: true, ...filter }, list(['text', 'text']));
  const matches = (topic: string, client?: string) => (reader: Reader) =>
    listMatches(reader, 'big', { topic, client }, list(['text', 'text']));
  const after = (query: (reader: Reader, next: ListRequest) => Promise<Page<unknown>>, kinds: CursorKey[]) => async (reader: Reader) => {
    const { nextCursor } = await query(read, list(kinds));
    return query(reader, new ListRequest('list', kinds, { limit: 50, cursor: nextCursor! }));
  };
  const days = { from: at('18T00:00'), to: at('21T00:00') };
  const span = bucketSpan('day', days.from.getTime(), days.to.getTime());
  const statsOf = (client: string) => ({ ...days, client, sort: 'sessions' as const, flappingConnects: 5, flappingMinutes: 10 });
  const series = (as: SeriesKind) => {
    return { metric: 'metric/07', as, from: at('18T00:00'), to: at('21T00:00'), stepMs: 129_600, nowMs: Date.now() };
  };

  it.each<[string, (reader: Reader) => Promise<unknown>, number]>([
    ['events, newest', events({}), 500],
    ['events, a further page', after((reader, next) => listEvents(reader, 'big', {}, next), ['time', 'bigint']), 500],
    ['events of a client', events({ client: 'client-0007' }), 500],
    ['events of a rare action', events({ action: 'checkpoint' }), 500],
    ['events of a client and an action', events({ client: 'client-0007', action: 'connected' }), 500],
    ['events of a minute', events({ from: at('19T08:00'), to: at('19T08:01') }), 500],
    ['sessions, newest', sessions({}), 500],
    ['sessions, a further page', after((reader, next) => listSessions(reader, 'big', {}, next), ['time', 'bigint']), 500],
    ['sessions of a client', sessions({ client: 'client-0007' }), 500],
    ['sessions that are open', sessions({ open: true }), 500],
    ['sessions of a rare end', sessions({ endReason: 'malformed' }), 500],
    ['sessions of a rare end, by who ended them', sessions({ endedBy: 'broker' }), 500],
    ['sessions of a minute', sessions({ from: at('19T08:00'), to: at('19T08:01') }), 500],
    ['clients', (reader) => listClients(reader, 'big', {}, list(['text'])), 500],
    ['clients by the beginning of their ids', (reader) => listClients(reader, 'big', { clientPrefix: 'client-19' }, list(['text'])), 500],
    ['clients that are connected', (reader) => listClients(reader, 'big', { connected: true }, list(['text'])), 5_000],
    ['metrics', (reader) => listMetrics(reader, 'big', list(['text'], 500)), 1_000],
    ['heartbeat', (reader) => findHeartbeat(reader, 'big'), 500],
    ['series', (reader) => findSeries(reader, 'big', series('value')), 10_000],
    ['rates', (reader) => findSeries(reader, 'big', series('rate')), 10_000],
    ['statistics of a client', (reader) => listClientStats(reader, 'big', statsOf('client-0007'), list(['bigint', 'text'])), 500],
    ['days of a client', (reader) => listDayStats(reader, 'big', { client: 'client-0007', span }, list(['time'])), 500],
    [
      'events by day: without events',
      async (reader) => countEvents(reader, (await findBroker(reader, 'big'))!, { bucket: 'day', by: 'action', span }),
      1,
    ],
    ['subscriptions of a client', subscriptions({ client: 'client-0007' }), 500],
    ['subscriptions of a filter', subscriptions({ topic: 'devices/4711/commands' }), 500],
    ['subscriptions that receive a topic', matches('devices/4711/commands'), 500],
    ['subscriptions that receive a topic, of a share group', matches('group/7/x'), 5_000],
    ['whether a client receives a topic', matches('devices/4711/commands', 'client-0711'), 500],
    ['a client', (reader) => findClientDetails(reader, 'big', 'client-0007'), 1_000],
    ['a client that never was', (reader) => findClientDetails(reader, 'big', 'client-'), 500],
    ['diagnostics', async (reader) => findDiagnostics(reader, (await findBroker(reader, 'big'))!), 1_000],
  ])('%s: by an index', async (_, query, mostRows) => {
    const nodes = readingOf(LARGE, await readingAs(sql, null, (asApi) => planned(asApi, query)));
    const scans = nodes.filter((node) => node['Node Type'] === 'Seq Scan');
    expect(scans.map((node) => node['Relation Name'])).toEqual([]);
    expect(rowsRead(nodes)).toBeLessThan(mostRows);
  });

  it('counts for one broker its active subscriptions, by their index or all there are, and reads little else', async () => {
    const query = async (reader: Reader) => findDetails(reader, (await findBroker(reader, 'big'))!);
    const nodes = readingOf(LARGE, await readingAs(sql, null, (asApi) => planned(asApi, query)));
    const [counted, others] = [true, false].map((isCount) =>
      nodes.filter((node) => (node['Relation Name'] === 'subscriptions') === isCount),
    );
    expect(rowsRead(counted!)).toBeLessThanOrEqual(50_300);
    expect(others!.filter((node) => node['Node Type'] === 'Seq Scan')).toEqual([]);
    expect(rowsRead(others!)).toBeLessThan(500);
  });

  it('finds who receives a topic as the rules of MQTT say, whatever the filters are', async () => {
    await sql.query('BEGIN');
    const level = fc.constantFrom('a', 'b', '', '$SYS', '.*', '(', '\\', ' ', 'a|b', '%', "'");
    const levels = (of: fc.Arbitrary<string>) => fc.array(of, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
    const plain = levels(fc.oneof(level, fc.constantFrom('+', '#')));
    const shared = plain.map((filter) => `$share/some group/${filter}`);
    const samples = fc.sample(fc.oneof(plain, plain, shared), 3_000);
    const filters = [...new Set(samples)].filter((filter) => topicFilterProblem(filter) === undefined);
    await sql.query(`INSERT INTO subscriptions (broker, client, topic) SELECT 'any', 'c', unnest($1::text[])`, [filters]);
    const topics = [...new Set(fc.sample(levels(level), 200))].filter((topic) => topic !== '');
    let matches = 0;
    for (const topic of topics) {
      const { items } = await listMatches(read, 'any', { topic }, list(['text', 'text'], 500));
      const expected = filters.filter((filter) => topicMatches(filter, topic));
      expect([topic, items.map((item) => item.topic).sort()]).toEqual([topic, expected.sort()]);
      matches += expected.length;
    }
    await sql.query('ROLLBACK');
    expect(matches).toBeGreaterThan(topics.length);
  });

  it('matches the longest topic of the most levels that is taken', async () => {
    const topic = `${'1/'.repeat(199)}${'x'.repeat(800)}`;
    await sql.query(`INSERT INTO subscriptions (broker, client, topic) VALUES ('small', 'c', $1), ('small', 'c', $2)`, [
      `${'+/'.repeat(199)}#`,
      `${'+/'.repeat(198)}+`,
    ]);
    const { items } = await listMatches(read, 'small', { topic }, list(['text', 'text']));
    expect(items.map((item) => item.topic)).toEqual([`${'+/'.repeat(199)}#`]);
  });

  it('matches a topic of 200 levels with 20,000 filters of as many, and does not take long over it', async () => {
    await sql.query('BEGIN');
    // Every filter differs, and the most of them only at the end.
    await sql.query(
      `INSERT INTO subscriptions (broker, client, topic)
       SELECT 'wide', 'client-' || n, (SELECT string_agg(CASE WHEN (n >> (level % 15)) & 1 = 1 THEN '+' ELSE 'a' END, '/') FROM generate_series(0, 198) level)
         || CASE WHEN n % 1000 = 0 THEN '/#' ELSE '/b' END
       FROM generate_series(1, 20000) n`,
    );
    await sql.query('ANALYZE subscriptions');
    const topic = `${'a/'.repeat(199)}a`;
    const tookMs: number[] = [];
    for (let run = 0; run < 5; run++) {
      const startMs = performance.now();
      const { items } = await listMatches(read, 'wide', { topic }, list(['text', 'text']));
      tookMs.push(performance.now() - startMs);
      expect(items).toHaveLength(20);
    }
    await sql.query('ROLLBACK');
    console.info(`20,000 filters of 200 levels: ${tookMs.map((ms) => ms.toFixed(0)).join(', ')} ms`);
    // Ten seconds where every filter is split for every level; 0.2 s here.
    expect(Math.min(...tookMs)).toBeLessThan(2_000);
  });

  it('lists gaps that overlap a range', async () => {
    const reasons = async (from?: Date, to?: Date) =>
      (await listGaps(read, 'big', { from, to }, list(['time', 'bigint']))).items.map((gap) => `${gap.reason} ${gap.durationMs}`);
    expect(await reasons()).toEqual(['log_expired 3600000', 'queue_overflow 0', 'watcher_down 3600000']);
    expect(await reasons(at('18T10:30'), at('18T10:40'))).toEqual(['watcher_down 3600000']);
    expect(await reasons(at('18T11:00'), at('19T10:00'))).toEqual([]);
    expect(await reasons(at('19T10:00'), at('19T12:00'))).toEqual(['queue_overflow 0']);
  });

  it('says how long a broker has been silent', async () => {
    await sql.query('BEGIN');
    expect((await findHeartbeat(read, 'big')).isStale).toBe(true);
    expect(await findHeartbeat(read, 'small')).toEqual({ at: null, isStale: true });
    await sql.query(`SELECT ensure_history_partitions(now() - interval '1 day', now())`);
    const beat = (secondsAgo: number[]) =>
      sql.query(
        `INSERT INTO broker_metrics (broker, metric, value, ts) SELECT 'small', 'uptime', 1, now() - s * interval '1 s' FROM unnest($1::int[]) s`,
        [secondsAgo],
      );
    // A broker with sys_interval 60, and one retained value in between.
    await beat([440, 380, 320, 260, 258, 200, 170]);
    expect((await findHeartbeat(read, 'small')).isStale).toBe(false);
    await sql.query(`DELETE FROM broker_metrics WHERE broker = 'small'`);
    await beat([80, 70, 60, 50, 40, 31]);
    expect((await findHeartbeat(read, 'small')).isStale).toBe(true);
    await beat([29]);
    expect((await findHeartbeat(read, 'small')).isStale).toBe(false);
    await sql.query('ROLLBACK');
  });

  it('draws a series with its gaps', async () => {
    await sql.query('BEGIN');
    const insert = (metric: string, rows: [string, number][]) =>
      sql.query(
        `INSERT INTO broker_metrics (broker, metric, value, ts) SELECT 'small', $1, v, t FROM unnest($2::float8[], $3::timestamptz[]) AS r (v, t)`,
        [metric, rows.map((row) => row[1]), rows.map((row) => at(`19T${row[0]}`))],
      );
    // Every 10 s from 07:59:50 to 08:02:00, silent until 08:04:00, restarted at 08:05:00.
    const beats = Array.from({ length: 45 }, (_, n): [string, number] => [
      new Date(at('19T07:59:50').getTime() + n * 10_000).toISOString().slice(11, 23),
      n * 10,
    ]);
    const heard = beats.filter(([time]) => time <= '08:02:00.000' || time >= '08:04:00.000');
    await insert(
      'uptime',
      heard.map(([time, uptime]) => [time, time >= '08:05:00.000' ? uptime - 310 : uptime]),
    );
    await insert('clients/total', [
      ['07:30:00', 1],
      ['07:59:55', 2],
      ['08:01:10', 4],
      ['08:01:20', 3],
      ['08:04:30', 9],
    ]);
    const request = {
      metric: 'clients/total',
      as: 'value' as const,
      from: at('19T08:00'),
      to: at('19T08:07'),
      stepMs: 30_000,
      nowMs: Date.now(),
    };
    const { stepMs, points } = await findSeries(read, 'small', request);
    expect(stepMs).toBe(30_000);
    expect(
      (points as SeriesPoint[]).map(
        ({ ts, min, max, avg, last, count }) => `${ts.toISOString().slice(14, 19)} ${min} ${max} ${avg} ${last} x${count}`,
      ),
    ).toEqual([
      '00:00 2 2 2 2 x0',
      '00:30 2 2 2 2 x0',
      '01:00 3 4 3.5 3 x2',
      '01:30 3 3 3 3 x0',
      '02:00 3 3 3 3 x0',
      '02:30 3 3 3 3 x0', // within 30 s of the last heartbeat
      '04:30 9 9 9 9 x1',
    ]);
    await sql.query('ROLLBACK');
  });

  it('tells what the watcher stored of its own view', async () => {
    const { advice, unknownLines, openSessions, state, lastGap } = await findDiagnostics(read, (await findBroker(read, 'big'))!);
    expect({ advice, unknownLines, openSessions, state }).toEqual({
      advice: [{ code: 'c', problem: 'p', lines: ['l'] }],
      unknownLines: [
        { shape: 'often', count: 9 },
        { shape: 'rare', count: 1 },
      ],
      openSessions: 5,
      state: 'watched',
    });
    expect(lastGap).toMatchObject({ reason: 'log_expired', durationMs: 3_600_000 });
  });
});
