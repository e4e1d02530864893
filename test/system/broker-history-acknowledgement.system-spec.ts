import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '@tallystick/testing';
import type pg from 'pg';
import { connect, metric, number, OWN, startWatcher, watch } from './watcher-under-test.js';

/** Beyond the 20 s for which Mosquitto keeps a log line. */
const AWAY_MS = process.env['FAULTS'] === 'long' ? 60_000 : 26_000;
const WINDOW = 50;

/** Connects, subscribes twice to the same topic, leaves: five lines, two of them equal. */
async function visit(url: string, id: string): Promise<void> {
  const client = await connect(url, id);
  await client.subscribeAsync('t', { qos: 0 });
  await client.subscribeAsync('t', { qos: 0 });
  await client.endAsync();
}

async function eventsOf(sql: pg.Client, like: string): Promise<Record<string, number>> {
  const { rows } = await sql.query<{ action: string; n: number }>(
    `SELECT action, count(*)::int AS n FROM events WHERE client LIKE $1 GROUP BY action`,
    [like],
  );
  return Object.fromEntries(rows.map(({ action, n }) => [action, n]));
}

async function gapsOf(sql: pg.Client): Promise<{ reason: string; from_ts: Date; to_ts: Date; seconds: number }[]> {
  const { rows } = await sql.query<{ reason: string; from_ts: Date; to_ts: Date; seconds: number }>(
    `SELECT reason, from_ts, to_ts, extract(epoch FROM to_ts - from_ts)::float8 AS seconds FROM observation_gaps ORDER BY id`,
  );
  return rows;
}

const away = async ({ toDatabase }: { toDatabase: { refuse(): void; cut(): void } }) => {
  toDatabase.refuse();
  toDatabase.cut();
  await sleep(100);
};

describe('log lines that are committed and not acknowledged yet', () => {
  it.each(['the watcher is killed', 'the connection breaks'])('are stored once when then %s', async (fault) => {
    const { broker, toBroker, sql, env, app } = await watch();
    await sleep(500); // what the watcher's own arrival wrote is acknowledged
    // Lines still come down; no PUBACK goes up any more.
    toBroker.blackhole(['up']);
    for (let i = 0; i < 3; i++) await visit(broker.url, `once-${i}`);
    const once = { connected: 3, subscribe: 6, disconnected: 3 };
    await until(async () => Object.values(await eventsOf(sql, 'once-%')).reduce((sum, n) => sum + n, 0) === 12);
    const { rows: equal } = await sql.query<{ n: number }>(
      `SELECT count(*)::int AS n FROM events WHERE client LIKE 'once-%' AND action = 'subscribe' GROUP BY raw HAVING count(*) > 1`,
    );
    expect(equal.length).toBeGreaterThan(0); // two equal lines in one second
    if (fault === 'the watcher is killed') await app.kill();
    toBroker.cut(); // what was held back never arrives
    await toBroker.heal();
    const second = fault === 'the watcher is killed' ? await startWatcher(env) : app;
    const duplicates = () => metric(second, 'mqtt_messages_processed_total{result="duplicate"}');
    await until(async () => (await duplicates()) >= 12);
    await visit(broker.url, 'after');
    await until(async () => (await eventsOf(sql, 'after')).disconnected === 1);
    expect(await eventsOf(sql, 'once-%')).toEqual(once);
    const sessions = `SELECT count(*)::int AS n FROM sessions WHERE client LIKE 'once-%'`;
    expect(await number(sql, `${sessions} AND end_reason = 'clean_disconnect'`)).toBe(3);
    expect(await number(sql, sessions)).toBe(3);
    expect(await gapsOf(sql)).toEqual([]);
    console.info(`${fault}: ${await duplicates()} lines delivered again, none stored again`);
    expect(await second.stop()).toBe(0);
  });
});

// Together, because they mostly wait.
describe('a database that is away for longer than the broker keeps lines', () => {
  it.concurrent(
    'costs nothing while the window holds what comes',
    async () => {
      const watched = await watch();
      const { broker, toDatabase, sql, app } = watched;
      await away(watched);
      for (let i = 0; i < 20; i++) await visit(broker.url, `held-${i}`);
      await sleep(AWAY_MS);
      await toDatabase.heal();
      await until(async () => (await eventsOf(sql, 'held-%')).disconnected === 20, { timeoutMs: 30_000 });
      expect(await eventsOf(sql, 'held-%')).toEqual({ connected: 20, subscribe: 40, disconnected: 20 });
      expect(await gapsOf(sql)).toEqual([]);
      expect(await app.stop()).toBe(0);
    },
    150_000,
  );

  it.concurrent(
    'leaves a gap of what the broker threw away, and doubts the sessions across it',
    async () => {
      const watched = await watch({ env: { MAX_UNACKNOWLEDGED: String(WINDOW) } });
      const { broker, toDatabase, sql, app } = watched;
      const stays = await connect(broker.url, 'stays');
      await until(async () => (await eventsOf(sql, 'stays')).connected === 1);
      const awayFromMs = Date.now();
      await away(watched);
      for (let i = 0; i < 40; i++) await visit(broker.url, `lost-${i}`);
      const visitedMs = Date.now();
      await sleep(AWAY_MS);
      await visit(broker.url, 'late');
      await toDatabase.heal();
      const gaps = await until(async () => (await gapsOf(sql)).length > 0 && (await gapsOf(sql)), { timeoutMs: 30_000 });
      expect(gaps).toMatchObject([{ reason: 'log_expired' }]);
      expect(gaps[0]!.from_ts.getTime()).toBeGreaterThanOrEqual(awayFromMs);
      expect(gaps[0]!.from_ts.getTime()).toBeLessThanOrEqual(visitedMs);
      await until(async () => (await eventsOf(sql, 'late')).disconnected === 1);
      const stored = Object.values(await eventsOf(sql, 'lost-%')).reduce((sum, n) => sum + n, 0);
      expect(stored).toBeLessThan(40 * 4);
      expect(await number(sql, `SELECT count(*)::int AS n FROM sessions WHERE client = 'stays' AND end_uncertain`)).toBe(1);
      expect(await metric(app, 'broker_observation_gaps_total{reason="log_expired"}')).toBe(1);
      console.info(`database away for ${AWAY_MS / 1_000} s: ${stored} of 160 lines of 40 clients stored, a gap of ${gaps[0]!.seconds} s`);
      await stays.endAsync();
      expect(await app.stop()).toBe(0);
    },
    150_000,
  );

  it.concurrent(
    'leaves a gap when the connection to the broker breaks meanwhile, and what was held is too old to come again',
    async () => {
      const watched = await watch();
      const { broker, toBroker, toDatabase, sql, app } = watched;
      await away(watched);
      // The first goes into the transaction that is being tried; the others wait behind it.
      await visit(broker.url, 'first');
      await sleep(1_000);
      for (let i = 0; i < 20; i++) await visit(broker.url, `held-${i}`);
      await sleep(AWAY_MS);
      toBroker.cut();
      await until(async () => (await metric(app, 'mqtt_connection_status')) === 1, { timeoutMs: 30_000 });
      await toDatabase.heal();
      await until(async () => (await metric(app, 'watcher_in_flight_lines')) === 0, { timeoutMs: 30_000 });
      const stored = (await eventsOf(sql, 'held-%')).disconnected ?? 0;
      const gaps = await gapsOf(sql);
      console.info(`after a reconnect: ${stored} of 20 clients stored, gaps: ${JSON.stringify(gaps)}`);
      expect(gaps.map(({ reason }) => reason)).toEqual(['log_expired']);
      expect(await app.stop()).toBe(0);
    },
    150_000,
  );
});

describe('a broker whose queue for the watcher overflows', () => {
  it('leaves a gap although its own line about that is lost too', async () => {
    const watched = await watch({ env: { MAX_UNACKNOWLEDGED: String(WINDOW) }, configLines: ['max_queued_messages 30'] });
    const { broker, toDatabase, sql, app } = watched;
    await sleep(2_000); // the count of dropped messages has been seen once
    await away(watched);
    for (let i = 0; i < 60; i++) await visit(broker.url, `lost-${i}`);
    await sleep(2_500);
    await toDatabase.heal();
    const gaps = await until(async () => (await gapsOf(sql)).length > 0 && (await gapsOf(sql)), { timeoutMs: 30_000 });
    expect(gaps).toMatchObject([{ reason: 'queue_overflow' }]);
    const stored = Object.values(await eventsOf(sql, 'lost-%')).reduce((sum, n) => sum + n, 0);
    expect(stored).toBeLessThan(60 * 4);
    expect(await number(sql, `SELECT count(*)::int AS n FROM events WHERE raw LIKE '%being dropped for client ${OWN}%'`)).toBe(0);
    expect((await (await fetch(`${app.url}/health`)).text()).includes('max_queued_messages')).toBe(true);
    console.info(`${stored} of 240 lines stored, a gap of ${gaps[0]!.seconds} s`);
    expect(await app.stop()).toBe(0);
  }, 120_000);
});
