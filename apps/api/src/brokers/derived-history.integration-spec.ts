import { createTestDatabase } from '@tallystick/testing';
import pg from 'pg';
import { readerOn } from '../../test/reader.js';
import type { Reader } from '../database/database.js';
import type { CursorKey } from '../http/cursor.js';
import { ListRequest, type Page } from '../http/list.js';
import { findBroker } from './brokers.queries.js';
import { type Bucket, bucketSpan } from './event-buckets.js';
import type { CountedBy } from './event-counts.dto.js';
import { countEvents } from './event-counts.queries.js';
import { listPopularity } from './popularity.queries.js';
import type { SessionStats, StatsSort } from './session-stats.dto.js';
import { type ClientStatsRequest, listClientStats, listDayStats, STATS_KEYS } from './session-stats.queries.js';
import { listClients } from './sessions.queries.js';

const at = (time: string) => new Date(`2025-${time}Z`);
const MINUTE_MS = 60_000;

/** client, start, end, reason, and what of it was not seen. */
const SESSIONS: [string, string, string | null, string | null, ('start' | 'end')?][] = [
  ['a', '11-20T08:00', '11-20T08:10', 'network'],
  ['a', '11-20T08:12', '11-20T08:20', 'clean_disconnect'],
  ['a', '11-20T23:30', '11-21T00:30', 'keepalive_timeout'], // over midnight
  ['a', '11-21T10:00', null, null],
  ['b', '11-20T09:00', '11-20T09:40', 'unknown', 'end'], // open across the gap
  ['b', '11-20T09:40', '11-20T10:00', 'clean_disconnect', 'start'],
  ['b', '11-20T12:00', '11-20T12:20', 'clean_disconnect'],
  // The fifth connection comes 10 minutes after the first; of d a second later.
  ...['10:00', '10:02', '10:04', '10:06', '10:10'].map((time) => session('c', time, 1)),
  ...['10:00', '10:02', '10:04', '10:06', '10:10:01'].map((time) => session('d', time, 3)),
  // Not five connections: one was there before it was seen.
  ['e', '11-20T10:00', '11-20T10:01', 'network', 'start'],
  ...['10:02', '10:03', '10:04', '10:05'].map((time) => session('e', time, 1)),
  // In Berlin the clocks went back on 26 October: 25 hours there, 24 in UTC.
  ['berlin', '10-25T23:59:59', '10-26T00:00:00', 'network'],
  ['berlin', '10-26T00:00:00', '10-26T23:59:59', 'network'],
  ['berlin', '10-26T23:59:59', '10-27T00:00:01', 'network'],
];

function session(client: string, time: string, minutes: number): [string, string, string, string] {
  const start = at(`11-20T${time}`);
  return [client, `11-20T${time}`, new Date(start.getTime() + minutes * MINUTE_MS).toISOString().slice(5, 19), 'network'];
}

const EVENTS: [string, string][] = [
  ['11-20T08:00:10', 'connected'],
  ['11-20T08:00:59', 'connected'],
  ['11-20T08:01:00', 'disconnected'],
  ['11-20T09:59:59', 'subscribe'],
  ['11-20T10:00:00', 'unknown'],
  ['11-21T00:00:00', 'connected'],
];

describe('what is derived from the history of a broker', () => {
  let sql: pg.Client;
  let read: Reader;
  const list = (kinds: CursorKey[], limit = 50, cursor?: string) => new ListRequest('list', kinds, { limit, cursor });

  beforeAll(async () => {
    sql = new pg.Client({ connectionString: (await createTestDatabase()).url });
    // The end of the file drops the database under it.
    sql.on('error', () => undefined);
    await sql.connect();
    read = readerOn(sql);
    // Days are those of UTC, whatever the server's time zone is.
    await sql.query(`SET TIME ZONE 'Europe/Berlin'`);
    await sql.query(`SELECT ensure_history_partitions('2025-11-20Z', '2025-11-21Z')`);
    await sql.query(`INSERT INTO broker_state (broker, watched_until) VALUES ('hand', '2025-11-21T12:30Z'), ('empty', NULL)`);
    await sql.query(
      `INSERT INTO observation_gaps (broker, from_ts, to_ts, reason) VALUES ('hand', '2025-11-20T09:20Z', '2025-11-20T09:38Z', 'watcher_down')`,
    );
    for (const [client, start, end, reason, unseen] of SESSIONS) {
      await sql.query(
        `INSERT INTO sessions (broker, client, start_ts, end_ts, end_reason, start_uncertain, end_uncertain) VALUES ('hand', $1, $2, $3, $4, $5, $6)`,
        [client, at(start), end && at(end), reason, unseen === 'start', unseen === 'end'],
      );
    }
    await sql.query(
      `INSERT INTO sessions (broker, client, start_ts, end_ts, end_reason) SELECT 'other', client, start_ts, end_ts, end_reason FROM sessions`,
    );
    await sql.query(
      `INSERT INTO events (broker, ts, action, received_at, line_count)
       SELECT b, t, a, t, 7 FROM unnest($1::timestamptz[], $2::text[]) AS e (t, a), (VALUES ('hand'), ('other')) AS o (b)`,
      [EVENTS.map(([time]) => at(time)), EVENTS.map(([, action]) => action)],
    );
  }, 60_000);
  afterAll(() => sql.end());

  async function all<T>(ask: (request: ListRequest) => Promise<Page<T>>, kinds: CursorKey[], limit = 50): Promise<T[]> {
    const items: T[] = [];
    for (let cursor: string | undefined; ;) {
      const page = await ask(list(kinds, limit, cursor));
      expect(page.items.length).toBeLessThanOrEqual(limit);
      items.push(...page.items);
      if (page.nextCursor === null) return items;
      cursor = page.nextCursor;
    }
  }

  const FLAPPING = { sort: 'sessions' as StatsSort, flappingConnects: 5, flappingMinutes: 10 };
  const clients = (request: Partial<ClientStatsRequest> & { from: Date; to: Date }, limit?: number) =>
    all((page) => listClientStats(read, 'hand', { ...FLAPPING, ...request }, page), STATS_KEYS.client, limit);
  const days = (from: Date, to: Date, client?: string, limit?: number) => {
    const span = bucketSpan('day', from.getTime(), to.getTime());
    return all((page) => listDayStats(read, 'hand', { client, span }, page), STATS_KEYS.day, limit);
  };
  const minutes = (ms: number | null) => (ms === null ? null : ms / MINUTE_MS);
  /** sessions, ended, churn, open, uncertain, and in minutes total and median. */
  const figures = ({ sessions, ended, churn, open, uncertain, totalDurationMs, medianDurationMs }: SessionStats) =>
    [sessions, ended, churn, open, uncertain, minutes(totalDurationMs), minutes(medianDurationMs)] as const;
  const [day, nextDay] = [at('11-20T00:00'), at('11-21T00:00')];

  it('sums up the sessions of each client, most of them first', async () => {
    const rows = await clients({ from: day, to: nextDay });
    expect(rows.map((row) => [row.client, ...figures(row), row.flapping])).toEqual([
      ['c', 5, 5, 10, 0, 0, 5, 1, true],
      ['d', 5, 5, 10, 0, 0, 15, 3, false],
      ['e', 5, 5, 10, 0, 1, 4, 1, false],
      ['a', 3, 2, 5, 0, 0, 78, 10, false], // the third ended on the next day
      ['b', 3, 3, 6, 0, 2, 20, 20, false], // the lengths of two are not known
    ]);
    expect(rows.every((row) => row.day === null)).toBe(true);
  });

  it('counts an end in the range in which it was, and an open session until now', async () => {
    const before = Date.now();
    const [row, ...others] = await clients({ from: nextDay, to: at('11-22T00:00') });
    expect(others).toEqual([]);
    expect(row).toMatchObject({ client: 'a', sessions: 1, ended: 1, churn: 2, open: 1, uncertain: 0 });
    expect(row!.totalDurationMs).toBe(row!.medianDurationMs);
    expect(row!.totalDurationMs).toBeGreaterThanOrEqual(before - at('11-21T10:00').getTime());
    expect(row!.totalDurationMs).toBeLessThanOrEqual(Date.now() - at('11-21T10:00').getTime());
  });

  it('takes the average of the two in the middle for the median', async () => {
    const [row] = await clients({ from: day, to: at('11-20T12:00'), client: 'a' });
    expect(figures(row!)).toEqual([2, 2, 4, 0, 0, 18, 9]);
  });

  it.each<[string, Partial<ClientStatsRequest>, string[]]>([
    ['longest total first', { sort: 'totalDurationMs' }, ['a', 'b', 'd', 'c', 'e']],
    ['by client id', { sort: 'client' }, ['a', 'b', 'c', 'd', 'e']],
    ['one client', { client: 'b' }, ['b']],
    ['who flaps', { flapping: true }, ['c']],
    ['who does not', { flapping: false }, ['d', 'e', 'a', 'b']],
    ['four within 5 minutes', { flapping: true, flappingConnects: 4, flappingMinutes: 5 }, ['e']],
    ['two within 12 minutes', { flapping: true, flappingConnects: 2, flappingMinutes: 12 }, ['c', 'd', 'e', 'a']],
    ['a client that does not flap, among those that do', { flapping: true, client: 'a' }, []],
  ])('lists clients: %s, page by page', async (_, request, expected) => {
    for (const limit of [1, 2, 50]) {
      expect((await clients({ from: day, to: nextDay, ...request }, limit)).map((row) => row.client)).toEqual(expected);
    }
  });

  it('counts connections together only if all are in the range', async () => {
    const flapping = async (from: string) => (await clients({ from: at(from), to: nextDay, client: 'c' }))[0]!.flapping;
    expect([await flapping('11-20T10:00'), await flapping('11-20T10:00:01')]).toEqual([true, false]);
  });

  it('sums up days, newest first, those without sessions too', async () => {
    const rows = await days(at('11-19T12:00'), at('11-21T12:00'));
    expect(rows.map(({ day: name }) => name)).toEqual(['2025-11-21', '2025-11-20', '2025-11-19']);
    expect(rows[0]).toMatchObject({ client: null, sessions: 1, ended: 1, churn: 2, open: 1, uncertain: 0, flapping: null });
    // Of 18 known lengths the ninth and tenth: nine of a minute, five of 3, then 8, 10, 20 and 60.
    expect(figures(rows[1]!)).toEqual([21, 20, 41, 0, 3, 122, 2]);
    expect(figures(rows[2]!)).toEqual([0, 0, 0, 0, 0, 0, null]);
    for (const limit of [1, 2])
      expect((await days(at('11-19T12:00'), at('11-21T12:00'), undefined, limit)).slice(1)).toEqual(rows.slice(1));
  });

  it('sums up the days of a client as the clients of a day', async () => {
    for (const client of ['a', 'b', 'c', 'e']) {
      const [ofClient] = await clients({ from: day, to: nextDay, client });
      const [ofDay] = await days(day, nextDay, client);
      expect(ofDay).toEqual({ ...ofClient, day: '2025-11-20', flapping: null });
    }
    expect((await days(at('11-18T00:00'), nextDay, 'nobody')).map(figures)).toEqual(Array(3).fill([0, 0, 0, 0, 0, 0, null]));
  });

  it('has days of 24 hours of UTC', async () => {
    const rows = await days(at('10-25T00:00'), at('10-28T00:00'));
    expect(rows.map((row) => [row.day, row.sessions, row.ended, row.totalDurationMs])).toEqual([
      ['2025-10-27', 0, 1, 0],
      ['2025-10-26', 2, 2, 86_399_000 + 2_000],
      ['2025-10-25', 1, 0, 1_000],
    ]);
    // Nobody else had sessions then.
    const ofClient = await days(at('10-25T00:00'), at('10-28T00:00'), 'berlin');
    expect(ofClient).toEqual(rows.map((row) => ({ ...row, client: 'berlin' })));
  });

  it('goes through a long range of all clients in pages of two weeks', async () => {
    const span = bucketSpan('day', at('10-20T00:00').getTime(), at('11-22T00:00').getTime());
    const first = await listDayStats(read, 'hand', { span }, list(['time']));
    expect([first.items.length, first.items[0]!.day]).toEqual([14, '2025-11-21']);
    const rows = await days(at('10-20T00:00'), at('11-22T00:00'));
    expect([rows.length, rows.reduce((sum, row) => sum + row.sessions, 0)]).toEqual([33, SESSIONS.length]);
  });

  const counts = async (by: CountedBy, bucket: Bucket, from: Date, to: Date) => {
    const summary = (await findBroker(read, 'hand'))!;
    const { points } = await countEvents(read, summary, { by, bucket, span: bucketSpan(bucket, from.getTime(), to.getTime()) });
    return points.map(({ ts, isIncomplete, counts: found }) => {
      const some = Object.entries(found).filter(([, count]) => count > 0);
      return [ts.toISOString().slice(5, 16) + (isIncomplete ? '?' : ''), Object.fromEntries(some)];
    });
  };

  it('counts events by minute, hour and day, with zeros, and says what is incomplete', async () => {
    expect(await counts('action', 'minute', at('11-20T07:59'), at('11-20T08:03'))).toEqual([
      ['11-20T07:59?', {}], // nobody watched yet
      ['11-20T08:00', { connected: 2 }],
      ['11-20T08:01', { disconnected: 1 }],
      ['11-20T08:02', {}],
    ]);
    expect(await counts('action', 'hour', at('11-20T08:30'), at('11-20T11:00'))).toEqual([
      ['11-20T08:00', { connected: 2, disconnected: 1 }],
      ['11-20T09:00?', { subscribe: 1 }], // the gap
      ['11-20T10:00', { unknown: 1 }],
    ]);
    expect(await counts('action', 'day', at('11-20T12:00'), at('11-22T12:00'))).toEqual([
      ['11-20T00:00?', { connected: 2, disconnected: 1, subscribe: 1, unknown: 1 }],
      ['11-21T00:00?', { connected: 1 }],
      ['11-22T00:00?', {}],
    ]);
    expect(await counts('action', 'hour', at('11-21T11:00'), at('11-21T14:00'))).toEqual([
      ['11-21T11:00', {}],
      ['11-21T12:00?', {}], // nobody has watched since half past
      ['11-21T13:00?', {}],
    ]);
  });

  it('counts ends by their reason, those over midnight on the day of the end', async () => {
    expect(await counts('endReason', 'day', day, at('11-22T00:00'))).toEqual([
      ['11-20T00:00?', { network: 16, clean_disconnect: 3, unknown: 1 }],
      ['11-21T00:00?', { keepalive_timeout: 1 }],
    ]);
    expect(await counts('endReason', 'minute', at('11-20T10:00'), at('11-20T10:02'))).toEqual([
      ['11-20T10:00', { clean_disconnect: 1 }],
      ['11-20T10:01', { network: 2 }],
    ]);
  });

  it('marks all of a broker that nobody has watched', async () => {
    const summary = (await findBroker(read, 'empty'))!;
    const { points } = await countEvents(read, summary, {
      by: 'action',
      bucket: 'hour',
      span: bucketSpan('hour', day.getTime(), nextDay.getTime()),
    });
    expect([points.length, points.every((point) => point.isIncomplete)]).toEqual([24, true]);
  });

  it('lists topic filters by their active subscribers', async () => {
    await sql.query('BEGIN');
    await sql.query(
      `INSERT INTO subscriptions (broker, client, topic, active, uncertain)
       SELECT 'hand', 'client-' || n, topic, n <= active, n = 1 AND topic = 'b/#'
       FROM (VALUES ('a/+', 2), ('b/#', 3), ('c', 2), ('gone', 0)) AS t (topic, active), generate_series(1, 4) n`,
    );
    for (const limit of [1, 50]) {
      const rows = await all((page) => listPopularity(read, 'hand', page), ['bigint', 'text'], limit);
      expect(rows).toEqual([
        { topic: 'b/#', subscribers: 3, uncertain: 1 },
        { topic: 'a/+', subscribers: 2, uncertain: 0 },
        { topic: 'c', subscribers: 2, uncertain: 0 },
      ]);
    }
    await sql.query('ROLLBACK');
  });

  it('tells clients that are seen only now from those that were here before', async () => {
    await sql.query('BEGIN');
    await sql.query(
      `INSERT INTO clients (broker, client, first_seen) VALUES
         ('now', 'new', '2025-11-20T08:00Z'), ('now', 'again', '2025-11-20T08:00Z'), ('now', 'forgotten', '2025-11-19Z'), ('now', 'gone', '2025-11-20Z')`,
    );
    await sql.query(
      `INSERT INTO sessions (broker, client, start_ts, end_ts) VALUES
         ('now', 'new', '2025-11-20T08:00Z', NULL), ('now', 'gone', '2025-11-20Z', '2025-11-20T01:00Z'),
         -- both within the second in which it was first seen
         ('now', 'again', '2025-11-20T08:00Z', '2025-11-20T08:00Z'), ('now', 'again', '2025-11-20T08:00Z', NULL),
         -- of its earlier sessions none is left
         ('now', 'forgotten', '2025-11-20T08:00Z', NULL)`,
    );
    const names = async (seenOnlyNow: boolean) =>
      (await listClients(read, 'now', { seenOnlyNow }, list(['text']))).items.map((item) => item.client);
    expect([await names(true), await names(false)]).toEqual([['new'], ['again', 'forgotten', 'gone']]);
    await sql.query('ROLLBACK');
  });
});
