import { setTimeout as sleep } from 'node:timers/promises';
import { FakeClock, findFaketime, until } from '@tallystick/testing';
import type { MqttClient } from 'mqtt';
import { connect, metric, number, OWN, startWatcher, watch } from './watcher-under-test.js';

/** Beyond the 20 s for which Mosquitto keeps a log line. */
const AWAY_MS = process.env['FAULTS'] === 'long' ? 60_000 : 30_000;

const RECOVERED_WITHIN_MS = 30_000;
const YEAR_S = 365 * 24 * 3_600;
const faketime = findFaketime();

/** What really happened, by client id: connections and subscriptions made, connections left. */
class ClientLedger {
  readonly connections = new Map<string, number>();
  left = 0;

  async visit(url: string, id: string): Promise<void> {
    const client = await connect(url, id);
    this.connections.set(id, (this.connections.get(id) ?? 0) + 1);
    await client.subscribeAsync('t', { qos: 0 });
    await client.subscribeAsync('t', { qos: 0 }); // a second line of the same text, usually in the same second
    await client.endAsync();
    this.left += 1;
  }
}

describe('history of the broker under faults', () => {
  it('has every session of a storm of 1,000 clients in a second, and as many open as the broker counts', async () => {
    const { broker, sql, app } = await watch();
    const startMs = performance.now();
    const clients = await Promise.all(Array.from({ length: 1_000 }, (_, i) => connect(broker.url, `storm-${i}`)));
    const stormMs = Math.round(performance.now() - startMs);
    const count = `SELECT count(*)::int AS n FROM sessions WHERE client LIKE 'storm-%' AND end_ts IS NULL`;
    await until(async () => (await number(sql, count)) === 1_000);
    await until(async () => (await metric(app, 'broker_clients_connected')) === 1_001);
    await until(async () => (await metric(app, 'broker_sessions_drift')) === 0);
    for (const client of clients) client.stream.destroy();
    await until(async () => (await number(sql, count)) === 0);
    const again = await Promise.all(Array.from({ length: 1_000 }, (_, i) => connect(broker.url, `storm-${i}`)));
    await until(async () => (await number(sql, count)) === 1_000);
    expect(await number(sql, `SELECT count(*)::int AS n FROM sessions WHERE client LIKE 'storm-%'`)).toBe(2_000);
    expect(await number(sql, `SELECT count(*)::int AS n FROM sessions WHERE client LIKE 'storm-%' AND start_uncertain`)).toBe(0);
    expect(await metric(app, 'broker_sessions_drift')).toBe(0);
    console.info(`1,000 clients connected in ${stormMs} ms`);
    for (const client of again) client.stream.destroy();
    expect(await app.stop()).toBe(0);
  });

  it('shows no drift when the lines of clients that the broker has counted before are recorded', async () => {
    const { broker, app, toDatabase } = await watch();
    const drift = () => metric(app, 'broker_sessions_drift');
    await until(async () => (await metric(app, 'broker_clients_connected')) === 1 && (await drift()) === 0);
    toDatabase.refuse();
    toDatabase.cut();
    const clients: MqttClient[] = [];
    for (let i = 0; i < 20; i++) clients.push(await connect(broker.url, `counted-${i}`));
    await until(async () => (await metric(app, 'broker_clients_connected')) === 21 && (await drift()) < 0);
    await toDatabase.heal();
    await until(async () => (await drift()) === 0, { timeoutMs: RECOVERED_WITHIN_MS });
    for (const client of clients) client.stream.destroy();
    expect(await app.stop()).toBe(0);
  });

  it('loses and doubles nothing when the watcher is killed and away for 5 s, during traffic', async () => {
    const { broker, sql, env, app } = await watch();
    const ledger = new ClientLedger();
    let going = true;
    const traffic = (async () => {
      for (let i = 0; going; i++) await Promise.all([ledger.visit(broker.url, `busy-${i % 7}`), sleep(10)]);
    })();
    await sleep(2_000);
    await app.kill();
    await sleep(5_000);
    const second = await startWatcher(env);
    await sleep(2_000);
    going = false;
    await traffic;
    const visits = [...ledger.connections.values()].reduce((sum, n) => sum + n, 0);
    expect(ledger.left).toBe(visits);
    await until(
      async () =>
        (await number(sql, `SELECT count(*)::int AS n FROM sessions WHERE client LIKE 'busy-%' AND end_ts IS NOT NULL`)) === visits,
    );
    await sleep(500); // what is doubled would come now
    const { rows } = await sql.query<{ action: string; n: number }>(
      `SELECT action, count(*)::int AS n FROM events WHERE client LIKE 'busy-%' GROUP BY action ORDER BY action`,
    );
    expect(rows).toEqual([
      { action: 'connected', n: visits },
      { action: 'disconnected', n: visits },
      { action: 'subscribe', n: 2 * visits },
    ]);
    const bySession = await sql.query<{ client: string; n: number }>(
      `SELECT client, count(*)::int AS n FROM sessions WHERE client LIKE 'busy-%' AND end_reason = 'clean_disconnect' GROUP BY client`,
    );
    expect(new Map(bySession.rows.map(({ client, n }) => [client, n]))).toEqual(new Map(ledger.connections));
    expect(await number(sql, `SELECT count(*)::int AS n FROM observation_gaps`)).toBe(0);
    console.info(
      `${visits} visits, ${4 * visits} lines, each one event; ${await metric(second, 'mqtt_messages_processed_total{result="duplicate"}')} redelivered`,
    );
    expect(await second.stop()).toBe(0);
  });

  it('has a gap when the watcher was away for too long, doubts the sessions across it, and shows the drift', async () => {
    const { broker, sql, env, app } = await watch();
    const [stays, leaves] = await Promise.all([connect(broker.url, 'stays'), connect(broker.url, 'leaves')]);
    await until(async () => (await number(sql, `SELECT count(*)::int AS n FROM sessions WHERE client IN ('stays', 'leaves')`)) === 2);
    const stoppingMs = Date.now();
    await app.stop();
    await sleep(500);
    await leaves.endAsync();
    await connect(broker.url, 'came');
    await sleep(AWAY_MS);
    const second = await startWatcher(env);
    const { rows } = await until(async () => {
      const found = await sql.query<{ reason: string; seconds: number }>(
        `SELECT reason, extract(epoch FROM to_ts - from_ts)::int AS seconds FROM observation_gaps`,
      );
      return found.rows.length > 0 && found;
    });
    expect(rows).toMatchObject([{ reason: 'watcher_down' }]);
    // All of the absence but the last 20 s; how long stopping and starting took is the machine's business.
    const longestS = (Date.now() - stoppingMs) / 1_000 - 20 + 2;
    expect(rows[0]!.seconds).toBeGreaterThanOrEqual(AWAY_MS / 1_000 - 20 - 1);
    expect(rows[0]!.seconds).toBeLessThanOrEqual(longestS);
    const { rows: open } = await sql.query(
      `SELECT client, end_uncertain FROM sessions WHERE client <> $1 AND end_ts IS NULL ORDER BY client`,
      [OWN],
    );
    // Nobody told the watcher who left and who came: it says that it does not know.
    expect(open).toEqual([
      { client: 'leaves', end_uncertain: true },
      { client: 'stays', end_uncertain: true },
    ]);
    expect(await metric(second, 'broker_observation_gaps_total{reason="watcher_down"}')).toBe(1);
    const another = await connect(broker.url, 'another');
    await until(async () => (await metric(second, 'broker_clients_connected')) === 4);
    expect(await metric(second, 'broker_sessions_open')).toBe(4 + (await metric(second, 'broker_sessions_drift')));
    await stays.endAsync();
    await until(async () => (await number(sql, `SELECT count(*)::int AS n FROM sessions WHERE client = 'stays' AND end_ts IS NULL`)) === 0);
    await another.endAsync();
    expect(await second.stop()).toBe(0);
  }, 120_000);

  it('goes on within 30 s after the connections to the database have silently died', async () => {
    const { broker, sql, toDatabase, app } = await watch();
    const stored = (id: string) => sql.query(`SELECT FROM events WHERE client = $1 AND action = 'connected'`, [id]);
    const values = () => number(sql, `SELECT count(*)::int AS n FROM broker_metrics`);
    await (await connect(broker.url, 'before')).endAsync();
    await until(async () => (await stored('before')).rowCount === 1);
    toDatabase.strand();
    const [strandedAtMs, valuesBefore] = [performance.now(), await values()];
    await (await connect(broker.url, 'meanwhile')).endAsync();
    await until(async () => (await stored('meanwhile')).rowCount === 1, { timeoutMs: RECOVERED_WITHIN_MS, intervalMs: 200 });
    await until(async () => (await values()) > valuesBefore, { timeoutMs: RECOVERED_WITHIN_MS, intervalMs: 200 });
    console.info(`stored ${Math.round(performance.now() - strandedAtMs)} ms after the connections had died`);
    expect(await number(sql, `SELECT count(*)::int AS n FROM observation_gaps`)).toBe(0);
    expect(await app.stop()).toBe(0);
  }, 120_000);

  const itWithFaketime = faketime ? it : it.skip;
  itWithFaketime(
    'stores lines and values between which the clock was set right by two years',
    async () => {
      const clock = new FakeClock(faketime!);
      const { broker, sql, toDatabase, app } = await watch({ env: clock.env });
      await until(() => number(sql, `SELECT count(*)::int AS n FROM broker_metrics`));
      toDatabase.refuse();
      toDatabase.cut();
      const inFlight = () => metric(app, 'watcher_in_flight_lines');
      await (await connect(broker.url, 'first')).endAsync();
      await until(async () => (await inFlight()) > 0);
      // These two wait for the transaction of the first, and come into one.
      const before = await inFlight();
      await (await connect(broker.url, 'then')).endAsync();
      await until(async () => (await inFlight()) > before);
      await sleep(2_500); // values come every second or two
      clock.jump(2 * YEAR_S);
      await (await connect(broker.url, 'later')).endAsync();
      await sleep(2_500);
      await toDatabase.heal();
      const years = (table: string, time: string, where = 'true') =>
        number(sql, `SELECT count(DISTINCT date_trunc('day', ${time}))::int AS n FROM ${table} WHERE ${where}`);
      await until(async () => (await years('events', 'received_at', `client IN ('then', 'later')`)) === 2, {
        timeoutMs: RECOVERED_WITHIN_MS,
      });
      await until(async () => (await years('broker_metrics', 'ts')) >= 2, { timeoutMs: RECOVERED_WITHIN_MS });
      expect(await app.stop()).toBe(0);
    },
    120_000,
  );
});
