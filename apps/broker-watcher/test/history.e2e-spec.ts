import { once } from 'node:events';
import { connect as connectSocket } from 'node:net';
import { startTestBroker, type TestBroker, until } from '@tallystick/testing';
import { generate } from 'mqtt-packet';
import { activeSubscriptions, client, endedSessions, metric, OWN_CLIENT, sessions, startWatcher, type Watcher } from './watcher.js';

describe('what clients do at a real broker', () => {
  let broker: TestBroker;
  let watcher: Watcher;
  beforeAll(async () => {
    broker = await startTestBroker({ configLines: ['sys_interval 1', 'autosave_interval 1'] });
    watcher = await startWatcher(broker.url);
  });

  it('is in sessions: who, when, how it ended', async () => {
    const { sql } = watcher;
    const [polite, lost] = await Promise.all([client(broker.url, 'end-polite'), client(broker.url, 'end-lost', { clean: false })]);
    await client(broker.url, 'end-twin');
    const twin = await client(broker.url, 'end-twin', { protocolVersion: 5, username: 'alice' });
    const silent = connectSocket(broker.port, '127.0.0.1');
    silent.on('error', () => undefined);
    silent.write(generate({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, clientId: 'end-silent', keepalive: 1 }));
    await once(silent, 'data');
    const rude = connectSocket(broker.port, '127.0.0.1');
    rude.on('error', () => undefined);
    const hello = generate({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, clientId: 'end-rude', keepalive: 60 });
    rude.write(hello);
    await once(rude, 'data');
    rude.write(hello); // a second CONNECT is a protocol error
    await polite.endAsync();
    lost.stream.destroy();
    await twin.endAsync();

    const rows = await endedSessions(sql, 'end-%', 6);
    const told = rows.map(({ client: id, end_reason, ended_by }) => `${id} ${end_reason} ${ended_by}`).sort();
    expect(told).toEqual([
      'end-lost network network',
      'end-polite clean_disconnect client',
      'end-rude protocol_error broker',
      'end-silent keepalive_timeout broker',
      'end-twin clean_disconnect client',
      'end-twin taken_over broker',
    ]);
    const find = (id: string, reason: string) => rows.find((row) => row.client === id && row.end_reason === reason);
    expect(find('end-lost', 'network')).toMatchObject({ clean_start: false, protocol_version: 4, username: null });
    expect(find('end-twin', 'clean_disconnect')).toMatchObject({ clean_start: true, protocol_version: 5, username: 'alice' });
    expect(find('end-silent', 'keepalive_timeout')!.ms).toBeGreaterThanOrEqual(1_000);
    expect(rows.every((row) => !row.start_uncertain && !row.end_uncertain)).toBe(true);
    silent.destroy();
    rude.destroy();
  });

  it('is in subscriptions, with topics as odd as they may be', async () => {
    const own = await client(broker.url, 'sub one');
    await own.subscribeAsync(['plain/+', 'with space/1 x', ' 1 2 ', '$share/group/jobs/#'], { qos: 1 });
    await own.subscribeAsync('plain/+', { qos: 2 });
    await own.subscribeAsync('left/again', { qos: 0 });
    await own.unsubscribeAsync('left/again');
    const stored = await client(broker.url, 'sub-stored', { clean: false });
    await stored.subscribeAsync('kept', { qos: 1 });
    await stored.endAsync();
    const expected = ['sub one |  1 2  | 1', 'sub one | $share/group/jobs/# | 1', 'sub one | plain/+ | 2', 'sub one | with space/1 x | 1'];
    await until(async () => {
      const active = await activeSubscriptions(watcher.sql);
      return JSON.stringify(active.sort()) === JSON.stringify([...expected, 'sub-stored | kept | 1'].sort());
    });
    await own.endAsync();
    await until(async () => JSON.stringify(await activeSubscriptions(watcher.sql)) === JSON.stringify(['sub-stored | kept | 1']));
    const { rows } = await watcher.sql.query(
      `SELECT count(*)::int AS count FROM subscriptions WHERE client = 'sub one' AND session_id IS NOT NULL`,
    );
    expect(rows).toEqual([{ count: 5 }]);
    await (await client(broker.url, 'sub-stored', { clean: true })).endAsync();
    await until(async () => (await activeSubscriptions(watcher.sql)).length === 0);
  });

  it.each(
    [
      '<img src=x onerror=alert(1)>',
      '</script>',
      '\u202eevil',
      "x (p2, c0, k60, u'admin').",
      'victim closed its connection.',
      'victim disconnected.',
      'victim disconnected, not authorised.',
      'a as b',
      'line\u2028separator',
      '\u200f\u2067right to left\u2069',
      'long '.repeat(180),
    ].map((id) => [id.slice(0, 40), id] as const),
  )('keeps the id %j as it is, and closes nobody else’s session', async (_, id) => {
    const { sql } = watcher;
    const names = async () => (await sql.query<{ client: string }>(`SELECT DISTINCT client FROM sessions`)).rows.map((row) => row.client);
    const victim = await client(broker.url, 'victim');
    await until(async () => (await sessions(sql, 'victim')).some((row) => row.is_open));
    const before = await names();
    const hostile = await client(broker.url, id, { username: "u', u'x (p2, c1, k60" });
    await hostile.subscribeAsync('hostile 1 topic', { qos: 1 });
    await hostile.endAsync();
    const count = async (action: string) => {
      const { rows } = await sql.query<{ n: number }>(`SELECT count(*)::int AS n FROM events WHERE client = $1 AND action = $2`, [
        id,
        action,
      ]);
      return rows[0]!.n;
    };
    await until(async () => (await count('disconnected')) === 1);
    expect([await count('connected'), await count('subscribe')]).toEqual([1, 1]);
    expect((await names()).filter((name) => !before.includes(name))).toEqual([id]);
    expect(await sessions(sql, 'victim')).toEqual(expect.arrayContaining([expect.objectContaining({ is_open: true })]));
    expect((await sessions(sql)).filter((row) => row.client === id)).toMatchObject([{ end_reason: 'clean_disconnect' }]);
    await victim.endAsync();
    await until(async () => (await sessions(sql, 'victim')).every((row) => !row.is_open));
  });

  it('lets nobody end another one’s subscription with a line that reads like its own', async () => {
    const { sql } = watcher;
    const dev = await client(broker.url, 'dev');
    await dev.subscribeAsync('a b c', { qos: 1 });
    const forger = await client(broker.url, 'dev a');
    await forger.unsubscribeAsync('b c');
    const own = await client(broker.url, '<unknown>');
    await own.subscribeAsync('t', { qos: 1 });
    await Promise.all([forger.endAsync(), own.endAsync()]);
    await endedSessions(sql, 'dev a', 1);
    const { rows } = await sql.query(`SELECT client, topic FROM events WHERE action = 'unsubscribe' AND raw LIKE '%: dev a b c'`);
    expect(rows).toEqual([{ client: null, topic: null }]);
    expect(await activeSubscriptions(sql)).toContain('dev | a b c | 1');
    // Mosquitto 2.0 calls so what never became a client.
    expect(await sessions(sql, '<unknown>')).toEqual([]);
    await dev.endAsync();
    await endedSessions(sql, 'dev', 1);
  });

  it('keeps of an id that the broker cuts that somebody came and went, and takes its end for nobody’s', async () => {
    const { sql } = watcher;
    const victim = await client(broker.url, 'victim');
    await until(async () => (await sessions(sql, 'victim')).some((row) => row.is_open));
    const cut = `SELECT action, client, length(raw) AS characters FROM events WHERE truncated ORDER BY id`;
    // The second one's last line is cut where it seems to end well.
    const ids = ['x'.repeat(60_000), `${'x'.repeat(938)} disconnected. Client victim disconnected.`];
    for (const id of ids) await (await client(broker.url, id)).endAsync();
    const { rows } = await until(async () => {
      const found = await sql.query<{ action: string; client: string | null; characters: number }>(cut);
      return found.rows.length >= 4 && found;
    });
    const told = (action: string) => ({ action, client: null, characters: 999 });
    expect(rows).toEqual([told('connected'), told('disconnected'), told('connected'), told('disconnected')]);
    expect((await sessions(sql, 'x%')).filter((row) => row.client.length > 100)).toEqual([]);
    expect((await sessions(sql, 'victim')).filter((row) => row.is_open)).toHaveLength(1);
    await victim.endAsync();
    await until(async () => (await sessions(sql, 'victim')).every((row) => !row.is_open));
  });

  it('is counted in clients, with first and last sight and last user name', async () => {
    await (await client(broker.url, 'seen', { username: 'bob' })).endAsync();
    await (await client(broker.url, 'seen')).endAsync();
    await endedSessions(watcher.sql, 'seen', 2);
    const { rows } = await watcher.sql.query(
      `SELECT c.username, c.first_seen <= c.last_seen AS ordered, count(s.id)::int AS sessions FROM clients c
       JOIN sessions s ON s.client_id = c.id WHERE c.client = 'seen' GROUP BY c.id`,
    );
    expect(rows).toEqual([{ username: 'bob', ordered: true, sessions: 2 }]);
  });

  it('leaves as many sessions open as the broker counts', async () => {
    const three = await Promise.all(['open-1', 'open-2', 'open-3'].map((id) => client(broker.url, id)));
    await until(async () => (await metric(watcher.app, 'broker_clients_connected')) === 4, { timeoutMs: 20_000 });
    await until(async () => (await metric(watcher.app, 'broker_sessions_drift')) === 0, { timeoutMs: 20_000 });
    await Promise.all(three.map((one) => one.endAsync()));
  });

  it('is beside metrics, which are numbers of their own time', async () => {
    const { rows } = await until(async () => {
      const found = await watcher.sql.query<{ metric: string; value: number }>(
        `SELECT DISTINCT ON (metric) metric, value FROM broker_metrics WHERE broker = 'local' ORDER BY metric, ts DESC`,
      );
      return found.rows.length >= 40 && found;
    });
    const latest = new Map(rows.map((row) => [row.metric, row.value]));
    expect(latest.get('clients/connected')).toBeGreaterThanOrEqual(1);
    expect(latest.get('uptime')).toBeGreaterThan(0);
    expect(latest.has('retained messages/count')).toBe(true);
    expect(latest.has('load/messages/received/1min')).toBe(true);
    expect([...latest.keys()].filter((name) => name.startsWith('log/'))).toEqual([]);
  });

  it('ends when the broker does', async () => {
    const { sql } = watcher;
    const survivor = await client(broker.url, 'run-survivor', { clean: false });
    await survivor.subscribeAsync('kept', { qos: 1 });
    const transient = await client(broker.url, 'run-transient');
    await transient.subscribeAsync('gone', { qos: 1 });
    await until(async () => (await activeSubscriptions(sql)).length === 2);
    await broker.restart();
    const rows = await endedSessions(sql, 'run-%', 2);
    expect(rows).toMatchObject([{ end_reason: 'broker_restart', ended_by: 'broker' }, { end_reason: 'broker_restart' }]);
    expect(await activeSubscriptions(sql)).toEqual(['run-survivor | kept | 1']);
    await until(async () => (await fetch(`${watcher.app.url}/readyz`)).ok, { timeoutMs: 20_000 });
    const back = await client(broker.url, 'run-survivor', { clean: false });
    await until(async () => (await sessions(sql, 'run-survivor')).filter((row) => row.is_open).length === 1);
    await back.endAsync();
    const { rows: own } = await sql.query(`SELECT end_reason FROM sessions WHERE client = $1 ORDER BY id`, [OWN_CLIENT]);
    expect(own).toEqual([{ end_reason: 'broker_restart' }, { end_reason: null }]);
    const { rows: state } = await sql.query(
      `SELECT version, watcher, watched_until > now() - interval '10 seconds' AS fresh FROM broker_state`,
    );
    expect(state).toEqual([{ version: expect.stringMatching(/^mosquitto version /), watcher: OWN_CLIENT, fresh: true }]);
  });

  it('balances: what was received is stored', async () => {
    const value = (series: string) => metric(watcher.app, series);
    await until(async () => (await value('watcher_in_flight_lines')) === 0);
    const { rows } = await watcher.sql.query<{ n: number }>(`SELECT sum(line_count)::int AS n FROM events`);
    expect(await value('mqtt_messages_processed_total{result="stored"}')).toBe(rows[0]!.n);
    const processed = ['stored', 'duplicate', 'abandoned'].map((result) => value(`mqtt_messages_processed_total{result="${result}"}`));
    expect(await value('mqtt_messages_received_total')).toBe((await Promise.all(processed)).reduce((sum, n) => sum + n));
    expect(await watcher.app.stop()).toBe(0);
  });

  it('is counted and summed up as it is stored', async () => {
    const same = async (derived: string, stored: string) => {
      const [{ rows: found }, { rows: expected }] = await Promise.all([watcher.sql.query(derived), watcher.sql.query(stored)]);
      expect(found.length).toBeGreaterThan(1);
      expect(found).toEqual(expected);
    };
    for (const bucket of ['minute', 'hour']) {
      await same(
        `SELECT start_ts, action AS key, events AS n FROM event_counts WHERE bucket = '${bucket}' ORDER BY 1, 2`,
        `SELECT date_trunc('${bucket}', ts, 'UTC') AS start_ts, action AS key, count(*) AS n FROM events GROUP BY 1, 2 ORDER BY 1, 2`,
      );
      await same(
        `SELECT start_ts, end_reason AS key, sessions AS n FROM session_end_counts WHERE bucket = '${bucket}' AND sessions <> 0 ORDER BY 1, 2`,
        `SELECT date_trunc('${bucket}', end_ts, 'UTC') AS start_ts, end_reason AS key, count(*) AS n FROM sessions WHERE end_ts IS NOT NULL
         GROUP BY 1, 2 ORDER BY 1, 2`,
      );
    }
    await same(
      `SELECT client, sum(sessions) AS sessions, sum(ended) AS ended, sum(open) AS open FROM session_stats GROUP BY client ORDER BY client`,
      `SELECT client, count(*) AS sessions, count(end_ts) AS ended, count(*) FILTER (WHERE end_ts IS NULL) AS open
       FROM sessions GROUP BY client ORDER BY client`,
    );
    await same(
      `SELECT topic, subscribers FROM subscription_popularity ORDER BY topic`,
      `SELECT topic, count(*) AS subscribers FROM subscriptions WHERE active GROUP BY topic ORDER BY topic`,
    );
  });
});
