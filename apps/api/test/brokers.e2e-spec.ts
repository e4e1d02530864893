import { type RunningApp, startApp, startTestBroker, type TestBroker, until } from '@tallystick/testing';
import { connectAsync, type MqttClient } from 'mqtt';
import { Api } from './api.js';

type Item = Record<string, unknown>;

const secondsAgo = (seconds: number) => new Date(Date.now() - seconds * 1_000);
/** Whole seconds, as the log has them. */
const whole = (date: Date) => new Date(Math.floor(date.getTime() / 1_000) * 1_000);

describe('history of brokers', () => {
  let api: Api;
  const path = (rest: string) => `/api/v1/brokers/${rest}`;
  const items = async (rest: string) => (await api.ask<{ items: Item[] }>(path(rest))).body.items;
  const column = async (rest: string, key: string) => (await items(rest)).map((item) => item[key]);

  const hostile = `x' OR '1'='1" <img src=x> \u202e %_\\`;
  const connectedAt = whole(secondsAgo(90));
  beforeAll(async () => {
    api = await Api.start();
    const { sql } = api;
    await sql.query(`SELECT ensure_history_partitions(now() - interval '2 days', now())`);
    await sql.query(
      `INSERT INTO broker_state (broker, version, started_at, watched_until, watcher, capabilities) VALUES
         ('local', 'mosquitto version 2.0.22', now() - interval '1 day', now() + interval '1 hour', 'tallystick-watcher', $1),
         ('away', 'mosquitto version 1.6.9', now() - interval '9 days', now() - interval '1 hour', 'watcher-2', '{}'),
         ('new', NULL, NULL, NULL, 'watcher-3', '{}'), ('plant/7 süd', NULL, NULL, NULL, NULL, '{}')`,
      [
        {
          seen: { lines: true },
          unknownShapes: { 'Warning: 0 new things': 3 },
          advice: [{ code: 'no_persistence', problem: 'not saved', lines: ['persistence true'] }],
        },
      ],
    );
    const clients = ['a-1', 'a-2', 'A-3', 'b', 'tallystick-watcher', hostile];
    await sql.query(
      `INSERT INTO clients (broker, client, username, first_seen, last_seen)
       SELECT 'local', unnest($1::text[]), 'user', now() - interval '2 days', now()`,
      [clients],
    );
    await sql.query(`INSERT INTO clients (broker, client) VALUES ('away', 'elsewhere')`);
    // Of each client five sessions that are over, the last of them in doubt; a-1 and the watcher are connected.
    await sql.query(
      `INSERT INTO sessions (broker, client, username, start_ts, end_ts, end_reason, ended_by, end_uncertain)
       SELECT 'local', c, NULL, $2::timestamptz - n * interval '1 minute', $2::timestamptz - n * interval '1 minute' + interval '30 s',
         CASE n WHEN 1 THEN 'keepalive_timeout' ELSE 'clean_disconnect' END, CASE n WHEN 1 THEN 'broker' ELSE 'client' END, n = 1
       FROM unnest($1::text[]) c, generate_series(1, 5) n`,
      [clients, connectedAt],
    );
    await sql.query(
      `INSERT INTO sessions (broker, client, username, start_ts, address, port, protocol_version, clean_start, keepalive, start_uncertain) VALUES
         ('local', 'a-1', 'user', $1, '192.0.2.7', 51864, 5, true, 60, false),
         ('local', 'tallystick-watcher', NULL, $1, NULL, NULL, NULL, NULL, NULL, true), ('away', 'elsewhere', NULL, $1, NULL, NULL, 4, false, 60, false)`,
      [connectedAt],
    );
    await sql.query(
      `INSERT INTO subscriptions (broker, client, topic, qos, active, created_at, updated_at)
       SELECT 'local', client, topic, 1, active, now(), now() FROM (VALUES
         ('a-1', 'plant/+/temperature', true), ('a-1', 'plant/7/#', true), ('a-2', 'plant/7/temperature', true), ('a-2', '#', false),
         ('b', '$share/workers/plant/#', true), ('b', '+/7/temperature', true), ('tallystick-watcher', '$SYS/broker/log/#', true),
         ($1, '#', true)) AS s (client, topic, active)`,
      [hostile],
    );
    await sql.query(
      `INSERT INTO events (broker, ts, action, client, topic, qos, raw, received_at, reason, packet_id)
       SELECT 'local', $2::timestamptz - n / 3 * interval '1 s',
         (ARRAY['subscribe', 'disconnected', 'connected', 'unknown'])[1 + n % 4], CASE n % 4 WHEN 3 THEN NULL WHEN 2 THEN $1 ELSE 'a-1' END,
         CASE WHEN n % 4 = 0 THEN 'plant/' || n END, CASE WHEN n % 4 = 0 THEN 1 END, n || ': ' || $1, now() - interval '1 minute', NULL, 7
       FROM generate_series(0, 19) n`,
      [hostile, connectedAt],
    );
    await sql.query(
      `INSERT INTO broker_metrics (broker, metric, value, ts)
       SELECT 'local', 'uptime', 1000 - 10 * n, now() - n * interval '10 s' - interval '1 s' FROM generate_series(0, 60) n
       UNION ALL VALUES ('local', 'clients/connected', 5, now() - interval '400 s'), ('local', 'clients/connected', 3, now() - interval '200 s'),
         ('local', 'messages/received', 40, now() - interval '600 s'), ('local', 'messages/received', 100, now() - interval '550 s'),
         ('local', 'messages/received', 30, now() - interval '500 s'), ('local', 'messages/received', 70, now() - interval '450 s'),
         ('local', 'load/messages/received/1min', 12.34, now() - interval '5 s'), ('local', 'retained messages/count', 0, now() - interval '300 s'),
         ('away', 'uptime', 77, now() - interval '1 hour'), ('away', 'clients/connected', 8, now() - interval '1 hour')`,
    );
    await sql.query(
      `INSERT INTO observation_gaps (broker, from_ts, to_ts, reason) VALUES
         ('local', now() - interval '3 days', now() - interval '71 hours', 'log_expired'),
         ('local', now() - interval '2 hours', now() - interval '1 hour', 'watcher_down')`,
    );
  });
  afterAll(() => api.stop());

  it('lists brokers with their state', async () => {
    expect((await items('')).map(({ broker, state, version }) => [broker, state, version])).toEqual([
      ['away', 'unwatched', 'mosquitto version 1.6.9'],
      ['local', 'watched', 'mosquitto version 2.0.22'],
      ['new', 'never_watched', null],
      ['plant/7 süd', 'never_watched', null],
    ]);
    expect(await items(`${encodeURIComponent('plant/7 süd')}/events`)).toEqual([]);
  });

  it('lists clients by id, with what is open of each', async () => {
    const all = await items('local/clients');
    expect(all.map(({ client }) => client)).toEqual(['A-3', 'a-1', 'a-2', 'b', 'tallystick-watcher', hostile]);
    expect(all[1]).toMatchObject({
      username: 'user',
      isWatcher: false,
      session: {
        startTs: connectedAt.toISOString(),
        address: '192.0.2.7',
        port: 51864,
        protocolVersion: 5,
        cleanStart: true,
        keepalive: 60,
      },
    });
    expect(all[4]).toMatchObject({ isWatcher: true, session: { startUncertain: true, protocolVersion: null } });
    expect(all[0]).toMatchObject({ session: null });
    expect(await column('local/clients?connected=true', 'client')).toEqual(['a-1', 'tallystick-watcher']);
    expect(await column('local/clients?connected=false&clientPrefix=a', 'client')).toEqual(['a-2']);
    expect(await column('local/clients?clientPrefix=a-', 'client')).toEqual(['a-1', 'a-2']);
    expect(await column(`local/clients?clientPrefix=${encodeURIComponent("x' OR")}`, 'client')).toEqual([hostile]);
    expect(await column('local/clients?client=a-1', 'client')).toEqual(['a-1']);
    expect(await column('local/clients?client=a-', 'client')).toEqual([]);
    expect(await column('away/clients', 'client')).toEqual(['elsewhere']);
  });

  it('shows one broker: its state, how long it has run, and what is open, with an ETag', async () => {
    const { body, headers } = await api.ask(path('local'));
    expect(body).toMatchObject({
      ...{ broker: 'local', state: 'watched', version: 'mosquitto version 2.0.22', watcher: 'tallystick-watcher' },
      ...{ isStale: false, uptimeSeconds: 1000, openSessions: 2, activeSubscriptions: 7, lastGap: { reason: 'watcher_down' } },
    });
    const etag = headers.get('etag')!;
    expect([etag.startsWith('"'), headers.get('cache-control')]).toEqual([true, 'no-cache']);
    const again = await api.fetch(path('local'), { headers: { 'If-None-Match': etag, 'Cache-Control': 'max-age=0' } });
    expect(again.status).toBe(304);
    expect((await api.ask(path('away'))).body).toMatchObject({ state: 'unwatched', isStale: true, uptimeSeconds: 77, openSessions: 1 });
    expect((await api.ask(path(encodeURIComponent('plant/7 süd')))).body).toMatchObject({
      ...{ broker: 'plant/7 süd', state: 'never_watched', heartbeatAt: null, uptimeSeconds: null },
      ...{ openSessions: 0, activeSubscriptions: 0, lastGap: null },
    });
  });

  it('shows one client, whatever its id is', async () => {
    const client = (id: string, broker = 'local') => api.ask(path(`${broker}/clients/${encodeURIComponent(id)}`));
    const { body, headers } = await client('a-1');
    expect(body).toMatchObject({
      ...{ client: 'a-1', username: 'user', isWatcher: false, connected: true, session: { address: '192.0.2.7' } },
      ...{ sessions24h: 6, sessions7d: 6, activeSubscriptions: 2 },
      firstSeen: expect.stringMatching(/Z$/) as string,
      lastSeen: expect.stringMatching(/Z$/) as string,
    });
    expect((body['recentSessions'] as Item[]).map(({ endReason }) => endReason)).toEqual([
      ...[null, 'keepalive_timeout', 'clean_disconnect', 'clean_disconnect', 'clean_disconnect', 'clean_disconnect'],
    ]);
    expect((body['subscriptions'] as Item[]).map(({ topic }) => topic)).toEqual(['plant/+/temperature', 'plant/7/#']);
    expect(headers.get('etag')).toMatch(/^"/);
    expect((await client('a-2')).body).toMatchObject({ connected: false, session: null, sessions24h: 5, activeSubscriptions: 1 });
    expect((await client('elsewhere', 'away')).body).toMatchObject({ connected: null, session: { endUncertain: true } });

    const odd = [
      'a/b',
      '/',
      'a//b/',
      '%',
      '%2F',
      'a%2Fb',
      'größe 7 ♥ 😀',
      '?x=1&y#z',
      'a+b',
      '*',
      ':client',
      '..a',
      `${'ü/'.repeat(400)}`,
      hostile,
    ];
    await api.sql.query(`INSERT INTO clients (broker, client) SELECT 'new', unnest($1::text[])`, [odd]);
    try {
      for (const id of odd) expect([id, (await client(id, 'new')).body['client']]).toEqual([id, id]);
    } finally {
      await api.sql.query(`DELETE FROM clients WHERE broker = 'new'`);
    }
  });

  it('has no client that was never seen', async () => {
    for (const id of ['nobody', 'A-1', 'a-', 'a-1%20', '%25', 'a%2Fb', '%F0%9F%98%80', 'x'.repeat(10_000)]) {
      const { status, body } = await api.ask(path(`local/clients/${id}`));
      expect([status, body['code']]).toEqual([404, 'CLIENT_NOT_FOUND']);
    }
    for (const id of ['%00', 'a%00b']) expect((await api.ask(path(`local/clients/${id}`))).body['code']).toBe('INVALID_PARAMETER');
    expect((await api.ask(path('local/clients/%E0%A4%A'))).body['code']).toBe('INVALID_URL');
    // More than any HTTP request may have before its body; the API goes on.
    expect((await api.fetch(path(`local/clients/${'x'.repeat(60_000)}`))).status).toBe(431);
    expect((await api.ask(path('local/clients/a-1'))).status).toBe(200);
  });

  it('lists sessions, newest first, by client, state, end and time', async () => {
    const all = await items('local/sessions');
    expect(all).toHaveLength(32);
    const starts = all.map((session) => Date.parse(session['startTs'] as string));
    expect(starts).toEqual(starts.toSorted((a, b) => b - a));
    expect(await column('local/sessions?open=true', 'client')).toEqual(['tallystick-watcher', 'a-1']);
    const [open] = await items('local/sessions?client=a-1&limit=1');
    expect(open).toMatchObject({ endTs: null, endReason: null, endedBy: null });
    expect(open!['durationMs']).toBeGreaterThanOrEqual(90_000);
    const [ended] = await items(`local/sessions?client=${encodeURIComponent(hostile)}&open=false`);
    expect(ended).toMatchObject({
      durationMs: 30_000,
      endReason: 'keepalive_timeout',
      endedBy: 'broker',
      startUncertain: false,
      endUncertain: true,
    });
    expect(await items('local/sessions?endReason=keepalive_timeout')).toHaveLength(6);
    expect(await items('local/sessions?endedBy=client&client=b')).toHaveLength(4);
    const from = new Date(connectedAt.getTime() - 120_000).toISOString();
    const to = new Date(connectedAt.getTime() - 60_000).toISOString();
    expect(await column(`local/sessions?client=b&from=${from}&to=${to}`, 'startTs')).toEqual([from]);
  });

  it('sums up sessions by client and by day', async () => {
    const from = whole(secondsAgo(3_600)).toISOString();
    const rows = await items(`local/sessions/stats?from=${from}`);
    expect(rows.map(({ client, sessions }) => [client, sessions]).slice(0, 2)).toEqual([
      ['a-1', 6],
      ['tallystick-watcher', 6],
    ]);
    // Five of 30 s, the last of them in doubt, and of a-1 the open one.
    expect(rows.find(({ client }) => client === 'b')).toEqual({
      ...{ client: 'b', day: null, sessions: 5, ended: 5, churn: 10, open: 0, uncertain: 1 },
      ...{ totalDurationMs: 120_000, medianDurationMs: 30_000, flapping: true },
    });
    expect(rows[0]).toMatchObject({ churn: 11, open: 1, uncertain: 1, medianDurationMs: 30_000 });
    expect(rows[0]!['totalDurationMs']).toBeGreaterThanOrEqual(210_000);
    expect(rows[1]).toMatchObject({ open: 1, uncertain: 2, totalDurationMs: 120_000 });
    expect(await column(`local/sessions/stats?from=${from}&sort=client&flapping=true&flappingConnects=6`, 'client')).toEqual(['a-1']);
    expect(await items(`local/sessions/stats?from=${from}&flapping=true&flappingMinutes=3`)).toEqual([]);
    const days = await items(`local/sessions/stats?by=day&client=a-1&from=${from}`);
    expect(days.reduce((sum, day) => sum + (day['sessions'] as number), 0)).toBe(6);
    expect((await items(`local/sessions/stats?by=day&from=2025-12-30T12:00:00Z&to=2026-01-01T00:00:00Z`)).map(({ day }) => day)).toEqual([
      '2025-12-31',
      '2025-12-30',
    ]);
    expect(await items('away/sessions/stats?flapping=true')).toEqual([]);
  });

  it('lists who is seen only now', async () => {
    expect(await column('away/clients?seenOnlyNow=true', 'client')).toEqual([]);
    expect(await column('away/clients?seenOnlyNow=false', 'client')).toEqual(['elsewhere']);
    await api.sql.query(`UPDATE clients SET first_seen = $1 WHERE broker = 'away'`, [connectedAt]);
    expect(await column('away/clients?seenOnlyNow=true', 'client')).toEqual(['elsewhere']);
    expect(await items('local/clients?seenOnlyNow=true')).toEqual([]);
  });

  it('lists topic filters by their subscribers', async () => {
    const popular = await items('local/subscriptions/popularity');
    expect(popular).toHaveLength(7);
    await api.sql.query(`INSERT INTO subscriptions (broker, client, topic, uncertain) VALUES ('local', 'A-3', 'plant/7/#', true)`);
    expect((await items('local/subscriptions/popularity?limit=1'))[0]).toEqual({ topic: 'plant/7/#', subscribers: 2, uncertain: 1 });
    await api.sql.query(`DELETE FROM subscriptions WHERE client = 'A-3'`);
    expect(await items('new/subscriptions/popularity')).toEqual([]);
  });

  it('counts events and ends by time', async () => {
    type Counts = { from: string; to: string; points: { ts: string; isIncomplete: boolean; counts: Record<string, number> }[] };
    const counts = async (query: string) => (await api.ask<Counts>(path(`local/events/counts?${query}`))).body;
    const total = ({ points }: Counts, key: string) => points.reduce((sum, point) => sum + point.counts[key]!, 0);
    const byHour = await counts('');
    expect([24, 25]).toContain(byHour.points.length);
    expect(['connected', 'disconnected', 'subscribe', 'unknown', 'checkpoint'].map((action) => total(byHour, action))).toEqual([
      5, 5, 5, 5, 0,
    ]);
    const from = whole(secondsAgo(900)).toISOString();
    const byMinute = await counts(`bucket=minute&from=${from}`);
    expect([15, 16]).toContain(byMinute.points.length);
    expect(total(byMinute, 'connected')).toBe(5);
    expect([byMinute.points[0]!.isIncomplete, byMinute.points.at(-1)!.isIncomplete]).toEqual([true, false]); // nobody watched yet
    const ends = await counts(`by=endReason&bucket=day&from=${from}`);
    expect(['clean_disconnect', 'keepalive_timeout', 'broker_restart'].map((reason) => total(ends, reason))).toEqual([24, 6, 0]);
    expect(Date.parse(ends.to) - Date.parse(ends.from)).toBe(ends.points.length * 86_400_000);
    expect((await counts(`from=${secondsAgo(-7_200).toISOString()}`)).points).toEqual([]);
    expect((await counts('bucket=minute&from=2026-01-01T00:00:00Z&to=2026-01-02T09:20:00Z')).points).toHaveLength(2_000);
  });

  it('lists subscriptions, and who would receive a message on a topic', async () => {
    const receivers = async (topic: string) =>
      (await items(`local/subscriptions/match?topic=${encodeURIComponent(topic)}`)).map(
        ({ client, topic: filter }) => `${client as string} ${filter as string}`,
      );
    expect(await items('local/subscriptions')).toHaveLength(7);
    expect(await column('local/subscriptions?active=false', 'topic')).toEqual(['#']);
    expect(await column('local/subscriptions?client=a-1', 'topic')).toEqual(['plant/+/temperature', 'plant/7/#']);
    expect(await column(`local/subscriptions?topic=${encodeURIComponent('#')}`, 'client')).toEqual([hostile]);
    expect((await receivers('plant/7/temperature')).sort()).toEqual(
      [
        'a-1 plant/+/temperature',
        'a-1 plant/7/#',
        'a-2 plant/7/temperature',
        'b $share/workers/plant/#',
        'b +/7/temperature',
        `${hostile} #`,
      ].sort(),
    );
    expect((await receivers('plant/7')).sort()).toEqual(['a-1 plant/7/#', 'b $share/workers/plant/#', `${hostile} #`].sort());
    expect(await receivers('$SYS/broker/log/N')).toEqual(['tallystick-watcher $SYS/broker/log/#']);
    expect(await column('local/subscriptions/match?topic=plant/7/temperature&client=a-1', 'connected')).toEqual([true, true]);
    expect(await items('local/subscriptions/match?topic=plant/7/temperature&client=tallystick-watcher')).toEqual([]);
    expect(await column('local/subscriptions?client=a-2', 'connected')).toEqual([false]);
    expect(await items('away/subscriptions/match?topic=plant/7/temperature')).toEqual([]);
  });

  it('says which of the receivers share, so that one of them receives', async () => {
    await api.sql.query(
      `INSERT INTO subscriptions (broker, client, topic, active) VALUES
         ('local', 'a-1', '$share/workers/plant/#', true), ('local', 'A-3', '$share/workers/plant/#', true),
         ('local', 'tallystick-watcher', '$share/workers/plant/#', false), ('local', 'A-3', '$share/others/plant/#', true),
         ('local', 'A-3', '$share/sys/$SYS/#', true), ('local', 'A-3', '$share/all/#', true)`,
    );
    try {
      const shares = async (rest: string) =>
        (await items(`local/subscriptions/match?topic=${rest}`)).map(
          ({ client, shareGroup, shareMembers }) => `${client as string} ${shareGroup as string} ${shareMembers as number}`,
        );
      // In order of client and topic filter, as the database sorts texts.
      expect((await shares('plant/7/x')).sort()).toEqual(
        ['A-3 all 1', 'A-3 others 1', 'A-3 workers 3', 'a-1 null null', 'a-1 workers 3', 'b workers 3', `${hostile} null null`].sort(),
      );
      // The group is counted as a whole, whoever of it is asked for, and on whatever page.
      expect(await shares('plant/7/x&client=b')).toEqual(['b workers 3']);
      expect(await shares('$SYS/broker/uptime')).toEqual(['A-3 sys 1']);
      const pages = await api.pages<Item>(path('local/subscriptions/match?topic=plant/7/x&limit=1'));
      expect(pages.flat().filter(({ shareGroup, shareMembers }) => shareGroup === 'workers' && shareMembers === 3)).toHaveLength(3);
    } finally {
      await api.sql.query(`DELETE FROM subscriptions WHERE broker = 'local' AND topic LIKE '$share/%' AND client <> 'b'`);
    }
  });

  it('says of what is open that it may be over while nobody watches', async () => {
    const uncertain = async () => [
      ...(await items('local/sessions?open=true')).map((session) => session['endUncertain']),
      ...(await items('local/clients?connected=true')).map((client) => (client['session'] as Item)['endUncertain']),
    ];
    const ended = `local/sessions?client=b&open=false`;
    const [endedBefore] = await items(ended);
    expect(await uncertain()).toEqual([false, false, false, false]);
    await api.sql.query(`UPDATE broker_state SET watched_until = $1 WHERE broker = 'local'`, [new Date(connectedAt.getTime() + 5_000)]);
    try {
      expect(await uncertain()).toEqual([true, true, true, true]);
      expect(await items('local/sessions?client=a-1&open=true')).toMatchObject([{ endTs: null, durationMs: 5_000 }]);
      expect(await items(ended)).toEqual(expect.arrayContaining([endedBefore]));
      expect(await items('local/subscriptions?client=a-1')).toMatchObject([
        { active: true, uncertain: true, connected: null },
        { active: true, uncertain: true, connected: null },
      ]);
      expect(await api.ask(path('local/diagnostics'))).toMatchObject({
        body: { state: 'unwatched', openSessions: 2, uncertainSessions: 2 },
      });
    } finally {
      await api.sql.query(`UPDATE broker_state SET watched_until = now() + interval '1 hour' WHERE broker = 'local'`);
    }
  });

  it('lists events, newest first, with the whole line', async () => {
    const all = await items('local/events');
    expect(all).toHaveLength(20);
    expect(all[0]).toMatchObject({
      ts: connectedAt.toISOString(),
      raw: `2: ${hostile}`,
      action: 'connected',
      client: hostile,
      packetId: 7,
      lineCount: 1,
    });
    expect(await column('local/events?action=subscribe', 'topic')).toEqual(['plant/0', 'plant/4', 'plant/8', 'plant/12', 'plant/16']);
    expect(await items(`local/events?client=${encodeURIComponent(hostile)}&action=connected`)).toHaveLength(5);
    const from = new Date(connectedAt.getTime() - 2_000).toISOString();
    const to = new Date(connectedAt.getTime() - 1_000).toISOString();
    expect(await items(`local/events?from=${from}&to=${to}`)).toHaveLength(3);
    expect(await items('away/events')).toEqual([]);
  });

  it('lists metrics with their latest values', async () => {
    expect((await items('local/metrics')).map(({ metric, value, isStale, isCounter }) => [metric, value, isStale, isCounter])).toEqual([
      ['clients/connected', 3, false, false],
      ['load/messages/received/1min', 12.34, false, false],
      ['messages/received', 70, false, true],
      ['retained messages/count', 0, false, false],
      ['uptime', 1000, false, false],
    ]);
    expect(await column('away/metrics', 'isStale')).toEqual([true, true]);
  });

  interface Series {
    as: string;
    from: string;
    stepMs: number;
    resolution: string;
    points: Item[];
  }
  const series = async (metric: string, query = '') =>
    (await api.ask<Series>(path(`local/metrics/${encodeURIComponent(metric)}/series?${query}`))).body;

  it('shows a metric over time, repeated while the broker is heard', async () => {
    const from = secondsAgo(500).toISOString();
    const { stepMs, resolution, as, points } = await series('clients/connected', `from=${from}&step=10`);
    expect([stepMs, resolution, as]).toEqual([10_000, 'value', 'value']);
    // Unknown until 400 s ago, 5 until 200 s ago, 3 since.
    expect(points.length).toBeGreaterThanOrEqual(39);
    expect(points.length).toBeLessThanOrEqual(48); // on a busy machine the rows are some seconds older
    expect(points.filter((point) => point['count'] === 1)).toHaveLength(2);
    expect([points[0]!['last'], points.at(-1)!['last']]).toEqual([5, 3]);
    const whole = `from=${from}&to=${secondsAgo(0).toISOString()}&step=3600`;
    expect(await series('clients/connected', whole)).toMatchObject({ stepMs: 3_600_000, resolution: 'hour' });
    const sum = (await series('clients/connected', whole)).points.reduce((all, point) => all + (point['count'] as number), 0);
    expect(sum).toBe(2);
    const { stepMs: usual, points: usually } = await series('uptime');
    expect([usual, usually.length <= 501]).toEqual([180_000, true]);
    expect((await series('no/such/metric')).points).toEqual([]);
    expect((await series('uptime', `from=${secondsAgo(-3_600).toISOString()}`)).points).toEqual([]);
    expect((await series('retained messages/count', `from=${from}&step=60`)).resolution).toBe('minute');
  });

  it('shows by how much a counter rose, and how fast, across a restart and a gap', async () => {
    const deltas = async (query: string) => (await series('messages/received', `as=delta&${query}`)).points;
    const from = secondsAgo(620).toISOString();
    const points = await deltas(`from=${from}&step=10`);
    // 40 to 100, anew from 0 to 70.
    const total = (all: Item[]) => all.reduce((sum, { delta }) => sum + (delta as number), 0);
    expect(points.map(({ delta }) => delta).filter((delta) => delta !== 0)).toEqual([60, 30, 40]);
    for (const step of [1, 7, 60, 300, 3600]) expect([step, total(await deltas(`from=${from}&step=${step}`))]).toEqual([step, 130]);
    expect(points.every(({ includesGap }) => includesGap === false)).toBe(true);
    const rates = (await series('messages/received', `as=rate&from=${from}&step=10`)).points;
    expect(rates.map(({ rate }) => rate).filter((rate) => rate !== 0)).toEqual([6, 3, 4]);
    expect((await series('messages/received', `as=rate&from=${from}`)).stepMs).toBe(60_000);
    // What came is not lost in a silence, and not spread over it.
    await api.sql.query(
      `DELETE FROM broker_metrics WHERE broker = 'local' AND metric = 'uptime' AND ts BETWEEN now() - interval '300 s' AND now() - interval '150 s'`,
    );
    await api.sql.query(
      `INSERT INTO broker_metrics (broker, metric, value, ts) VALUES ('local', 'messages/received', 90, now() - interval '148 s')`,
    );
    const withGap = await deltas(`from=${from}&step=10`);
    expect(withGap.filter(({ delta }) => delta !== 0).map(({ delta, includesGap }) => [delta, includesGap])).toEqual([
      [60, false],
      [30, false],
      [40, false],
      [20, true],
    ]);
    expect(withGap.length).toBeLessThan(points.length - 9);
    const ratesWithGap = (await series('messages/received', `as=rate&from=${from}&step=10`)).points;
    expect(ratesWithGap.map(({ rate }) => rate).filter((rate) => rate !== 0)).toEqual([6, 3, 4]);
  });

  it('lists gaps that overlap a range', async () => {
    expect(await column('local/gaps', 'reason')).toEqual(['watcher_down', 'log_expired']);
    expect((await items(`local/gaps?from=${secondsAgo(5_400).toISOString()}`))[0]).toMatchObject({ durationMs: 3_600_000 });
    expect(await items(`local/gaps?from=${secondsAgo(3_500).toISOString()}`)).toEqual([]);
    expect(await items('new/gaps')).toEqual([]);
  });

  it('says how complete the history is', async () => {
    const { body } = await api.ask(path('local/diagnostics'));
    expect(body).toMatchObject({
      state: 'watched',
      isStale: false,
      openSessions: 2,
      uncertainSessions: 1,
      connectedClients: 3,
      drift: -1,
      gaps24h: 1,
      lastGap: { reason: 'watcher_down' },
      unknownLines: [{ shape: 'Warning: 0 new things', count: 3 }],
      advice: [{ code: 'no_persistence', lines: ['persistence true'] }],
    });
    expect((await api.ask(path('away/diagnostics'))).body).toMatchObject({
      state: 'unwatched',
      isStale: true,
      connectedClients: 8,
      drift: null,
    });
    expect((await api.ask(path('new/diagnostics'))).body).toMatchObject({
      state: 'never_watched',
      heartbeatAt: null,
      connectedClients: null,
      lastGap: null,
      advice: [],
    });
  });

  it.each([
    '',
    'local/clients',
    'local/sessions',
    'local/sessions?client=b',
    'local/sessions/stats',
    'local/sessions/stats?sort=client',
    'local/sessions/stats?by=day&client=a-1',
    'local/sessions/stats?by=day',
    'local/subscriptions',
    'local/subscriptions/popularity',
    'local/subscriptions/match?topic=plant/7/temperature',
    'local/events',
    'local/events?client=a-1',
    'local/metrics',
    'local/gaps',
  ])('pages through %j without loss or repetition', async (rest) => {
    const whole = await items(rest);
    expect(whole.length).toBeGreaterThan(1);
    const pages = await api.pages<Item>(`${path(rest)}${rest.includes('?') ? '&' : '?'}limit=1`);
    expect(pages.every((page) => page.length === 1)).toBe(true);
    const stable = (item: Item) => ({ ...item, durationMs: 0, totalDurationMs: 0, medianDurationMs: 0 });
    expect(pages.flat().map(stable)).toEqual(whole.map(stable));
  });

  const others = [
    '',
    'clients/a-1',
    'subscriptions/match?topic=a',
    'sessions/stats',
    'sessions/stats?by=day',
    'subscriptions/popularity',
    'events/counts',
  ];
  it.each(['clients', 'sessions', 'subscriptions', 'events', 'metrics', 'metrics/uptime/series', 'gaps', 'diagnostics', ...others])(
    'has no %s of an unknown broker',
    async (rest) => {
      for (const broker of ['nobody', 'LOCAL', encodeURIComponent("local' --"), '%25']) {
        const { status, body } = await api.ask(path(`${broker}/${rest}`));
        expect([status, body['code']]).toEqual([404, 'BROKER_NOT_FOUND']);
      }
      for (const broker of ['%00', 'x'.repeat(101)]) expect((await api.ask(path(`${broker}/${rest}`))).status).toBe(400);
    },
  );

  it.each([
    ['?state=watched', 'state'],
    ['local/clients?prefix=a', 'prefix'],
    ['local/clients?connected=1', 'connected'],
    ['local/clients?connected=true&connected=true', 'connected'],
    ['local/clients?client=', 'client'],
    ['local/clients?clientPrefix=%00', 'clientPrefix'],
    [`local/clients?client=${'x'.repeat(1_201)}`, 'client'],
    ['local/sessions?open=yes', 'open'],
    ['local/sessions?endedBy=me', 'endedBy'],
    ['local/sessions?endReason=network&endReason=unknown', 'endReason'],
    ['local/sessions?from=yesterday', 'from'],
    ['local/sessions?from=2016-11-21T00:00:00Z', 'from'],
    ['local/subscriptions?active=', 'active'],
    ['local/subscriptions?receives=a', 'receives'],
    ['local/subscriptions/match', 'topic'],
    ['local/subscriptions/match?topic=a/%2B', 'topic'],
    ['local/subscriptions/match?topic=a/%23', 'topic'],
    ['local/subscriptions/match?topic=$share/g/a', 'topic'],
    [`local/subscriptions/match?topic=${'/'.repeat(200)}`, 'topic'],
    ['local/subscriptions/match?topic=a&active=false', 'active'],
    ['local/clients?seenOnlyNow=yes', 'seenOnlyNow'],
    ['local/sessions/stats?by=hour', 'by'],
    ['local/sessions/stats?sort=churn', 'sort'],
    ['local/sessions/stats?by=day&sort=client', 'sort'],
    ['local/sessions/stats?by=day&flapping=true', 'flapping'],
    ['local/sessions/stats?flappingConnects=1', 'flappingConnects'],
    ['local/sessions/stats?flappingMinutes=1441', 'flappingMinutes'],
    ['local/sessions/stats?from=2026-01-01T00:00:00Z&to=2026-02-02T00:00:00Z', 'from'],
    ['local/sessions/stats?flapping=false&from=2026-01-01T00:00:00Z&to=2026-01-09T00:00:00Z', 'from'],
    ['local/sessions/stats?by=day&from=2025-01-01T00:00:00Z&to=2026-01-09T00:00:00Z', 'from'],
    ['local/subscriptions/popularity?topic=a', 'topic'],
    ['local/events/counts?bucket=week', 'bucket'],
    ['local/events/counts?by=client', 'by'],
    ['local/events/counts?bucket=minute&from=2026-01-01T00:00:00Z&to=2026-01-02T09:20:00.001Z', 'bucket'],
    ['local/events/counts?bucket=day&from=2025-01-01T00:00:00Z&to=2026-01-09T00:00:00Z', 'from'],
    ['local/events?action=publish', 'action'],
    ['local/events?limit=501', 'limit'],
    ['local/metrics?metric=uptime', 'metric'],
    ['local/metrics/uptime/series?points=500', 'points'],
    ['local/metrics/uptime/series?step=0', 'step'],
    ['local/metrics/uptime/series?step=1.5', 'step'],
    ['local/metrics/uptime/series?step=', 'step'],
    ['local/metrics/uptime/series?from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00Z&step=1', 'step'],
    ['local/metrics/uptime/series?as=raw', 'as'],
    ['local/metrics/clients%2Fconnected/series?as=rate', 'as'],
    ['local/metrics/uptime/series?as=delta', 'as'],
    ['local/metrics/uptime/series?from=2026-01-01T00:00:00Z&to=2026-03-01T00:00:00Z', 'from'],
    [`local/metrics/${'x'.repeat(1_201)}/series`, 'metric'],
    ['local/gaps?from=2026-11-21T00:00:00Z&to=2026-11-20T00:00:00Z', 'from'],
  ])('refuses %.70s', async (rest, parameter) => {
    const { status, body } = await api.ask<{ code: string; errors: { parameter: string }[] }>(path(rest));
    expect([status, body.code, body.errors.map((error) => error.parameter)]).toEqual([400, 'INVALID_PARAMETER', [parameter]]);
  });

  it('refuses a query of single objects, and a cursor of another broker', async () => {
    for (const rest of ['local', 'local/clients/a-1', 'local/diagnostics'])
      expect((await api.ask(path(`${rest}?verbose=1`))).body['code']).toBe('INVALID_PARAMETER');
    const cursor = (await api.ask(path('local/gaps?limit=1'))).body['nextCursor'] as string;
    expect((await api.ask(path(`away/gaps?cursor=${cursor}`))).status).toBe(400);
    expect((await api.ask(path(`local/gaps?cursor=${cursor}`))).status).toBe(200);
  });
});

describe('a watched Mosquitto', () => {
  let broker: TestBroker;
  let api: Api;
  let watcher: RunningApp;
  let client: MqttClient;
  beforeAll(async () => {
    broker = await startTestBroker({ configLines: ['sys_interval 1'] });
    api = await Api.start();
    const { rows } = await api.sql.query<{ name: string }>('SELECT current_database() AS name');
    const url = new URL(process.env['TEST_DATABASE_URL']!);
    url.pathname = `/${rows[0]!.name}`;
    watcher = await startApp('broker-watcher', { DATABASE_URL: url.href, DATABASE_ALLOW_DATA_LOSS: 'true', MQTT_URL: broker.url });
    await watcher.waitForReady();
    client = await connectAsync(broker.url, { protocolVersion: 5, clientId: 'meter 1', reconnectPeriod: 0 });
    await client.subscribeAsync('plant/+/commands', { qos: 1 });
  });
  afterAll(async () => {
    await client.endAsync();
    expect(await watcher.stop()).toBe(0);
    await api.stop();
  });

  it('shows who is connected, who receives a topic, and that nothing is missing', async () => {
    const ask = async (rest: string) => (await api.ask<{ items: Item[] }>(`/api/v1/brokers/local/${rest}`)).body.items;
    const [receiver] = await until(async () => {
      const { status, body } = await api.ask<{ items?: Item[] }>('/api/v1/brokers/local/subscriptions/match?topic=plant/7/commands');
      // The watcher says every 2 s that it watches; before that it is not known who is connected.
      return status === 200 && body.items!.some(({ connected }) => connected !== null) && body.items!;
    });
    expect(receiver).toMatchObject({ client: 'meter 1', topic: 'plant/+/commands', qos: 1, connected: true });
    expect(await ask('clients?connected=true')).toMatchObject([{ client: 'meter 1' }, { client: 'tallystick-watcher', isWatcher: true }]);
    const lines = await ask('events?client=meter%201');
    expect(lines.map(({ action }) => action)).toEqual(['subscribe', 'connected']);
    expect(lines[0]!['raw']).toMatch(/^\d+: meter 1 1 plant\/\+\/commands$/);
    await until(async () => (await api.ask('/api/v1/brokers/local/diagnostics')).body['drift'] === 0);
    expect((await api.ask('/api/v1/brokers/local/diagnostics')).body).toMatchObject({
      state: 'watched',
      version: expect.stringMatching(/^mosquitto version /) as string,
      isStale: false,
      connectedClients: 2,
      advice: [],
    });
    const { points } = (await api.ask<{ points: Item[] }>('/api/v1/brokers/local/metrics/clients%2Fconnected/series')).body;
    expect(points.at(-1)).toMatchObject({ last: 2 });
  });

  it('shows one client of it, and itself', async () => {
    const { body } = await api.ask('/api/v1/brokers/local/clients/meter%201');
    expect(body).toMatchObject({ connected: true, sessions24h: 1, activeSubscriptions: 1, subscriptions: [{ topic: 'plant/+/commands' }] });
    expect(body['recentSessions']).toMatchObject([{ endTs: null, protocolVersion: 5 }]);
    const details = (await api.ask('/api/v1/brokers/local')).body;
    expect(details).toMatchObject({ state: 'watched', isStale: false, openSessions: 2 });
    // Of the watcher only what it subscribed to after the log was there.
    expect(details['activeSubscriptions']).toBeGreaterThanOrEqual(1);
    expect(details['uptimeSeconds']).toBeGreaterThan(0);
  });

  it('counts what was published to it, also after a restart', async () => {
    const from = secondsAgo(0).toISOString();
    const counter = '/api/v1/brokers/local/metrics/publish%2Fmessages%2Freceived/series';
    const ask = async (rest: string) => (await api.ask<{ points: Item[] }>(`${counter}?from=${from}&${rest}`)).body.points;
    const rises = async () => (await ask('as=delta&step=1')).reduce((sum, { delta }) => sum + (delta as number), 0);
    const publish = async (to: MqttClient, count: number) => {
      for (let n = 0; n < count; n++) await to.publishAsync('plant/7/kwh', `${n}`, { qos: 1 });
    };
    await publish(client, 50);
    // The watcher publishes nothing.
    await until(async () => (await rises()) === 50);
    await until(async () => (await ask('as=rate&step=1')).some(({ rate }) => (rate as number) > 0));
    await broker.restart();
    const other = await connectAsync(broker.url, { protocolVersion: 5, clientId: 'meter 2', reconnectPeriod: 0 });
    await publish(other, 20);
    await other.endAsync();
    await until(async () => (await rises()) === 70, { timeoutMs: 30_000 });
    expect((await ask('as=value&step=1')).at(-1)).toMatchObject({ last: 20 });
    expect((await ask('as=delta&step=1')).every(({ delta }) => (delta as number) >= 0)).toBe(true);
  }, 60_000);
});
