import { setTimeout as sleep } from 'node:timers/promises';
import { createTestDatabase, PacketTrace, type RunningApp, startApp, startTestBroker, until } from '@tallystick/testing';
import { connectAsync } from 'mqtt';
import pg from 'pg';
import { compare, SteadyPublisher, totals } from './broker-ledger.js';

const RESTARTS = process.env['FAULTS'] === 'long' ? 5 : 3;
const RATE_PER_S = 500;
const AWAY_MS = 15_000;

/** Every commit takes a while, so that a restart of the broker meets messages which are stored and not acknowledged, or neither. */
const SLOW_COMMITS = `
  CREATE FUNCTION slow_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.03); RETURN NULL; END $$;
  CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT OR UPDATE ON batches DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION slow_commit()`;

async function startBridge(mqttUrl: string, env: Record<string, string> = {}): Promise<{ app: RunningApp; sql: pg.Client }> {
  const database = await createTestDatabase();
  const sql = new pg.Client({ connectionString: database.url });
  sql.on('error', () => undefined);
  await sql.connect();
  const app = await startApp('ingest-bridge', { DATABASE_URL: database.url, DATABASE_ALLOW_DATA_LOSS: 'true', MQTT_URL: mqttUrl, ...env });
  await app.waitForReady();
  return { app, sql };
}

async function metric(app: RunningApp, series: string): Promise<number> {
  const text = await (await fetch(`${app.url}/metrics`)).text();
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
  return Number(line?.split(' ').at(-1));
}

async function statusOf(app: RunningApp, path: string): Promise<number> {
  return (await fetch(`${app.url}${path}`)).status;
}

describe('restarts of the broker', () => {
  it(`with persistence, ${RESTARTS} times under ${RATE_PER_S} messages a second: session resumed, none lost, none doubled`, async () => {
    const broker = await startTestBroker();
    const trace = await PacketTrace.start(broker.port);
    const { app, sql } = await startBridge(trace.url);
    await sql.query(SLOW_COMMITS);
    const publisher = new SteadyPublisher(broker.url, RATE_PER_S);
    publisher.start();
    for (let restart = 1; restart <= RESTARTS; restart++) {
      const before = publisher.acknowledged.length;
      await until(() => publisher.acknowledged.length > before + RATE_PER_S);
      await broker.restart();
      await until(() => trace.of('broker', 'connack').length > restart, { timeoutMs: 30_000 });
      await app.waitForReady();
    }
    await sleep(1_000);
    await publisher.stop();
    await until(async () => (await compare(sql, publisher)).lost === 0, { timeoutMs: 20_000, intervalMs: 200 });
    // Everything that the broker still has to deliver has come once nothing is held.
    await until(async () => (await metric(app, 'mqtt_messages_unacknowledged')) === 0);
    expect(await compare(sql, publisher)).toEqual({ lost: 0, doubled: 0, unknown: 0 });
    const resumed = trace.of('broker', 'connack').map(({ packet }) => packet.cmd === 'connack' && packet.sessionPresent);
    expect(resumed).toEqual([false, ...Array<boolean>(RESTARTS).fill(true)]);
    const { rows, ...sums } = await totals(sql);
    expect(sums).toEqual({ inBatches: rows, ofDevices: rows, failedBatches: 0 });
    // The faults did happen: messages came twice, and it showed in the account.
    const processed = async (result: string) => metric(app, `mqtt_messages_processed_total{result="${result}"}`);
    const [duplicate, abandoned] = [await processed('duplicate'), await processed('abandoned')];
    expect(duplicate + abandoned).toBeGreaterThan(0);
    expect(await metric(app, 'mqtt_messages_received_total')).toBe(rows + duplicate + abandoned);
    expect(await app.stop()).toBe(0);
  });

  it('without persistence while acknowledgements are held: no new message lost, none acknowledged for another', async () => {
    const broker = await startTestBroker({ configLines: ['persistence false'] });
    const trace = await PacketTrace.start(broker.port);
    const { app, sql } = await startBridge(trace.url);
    await sql.query('BEGIN; LOCK TABLE batches IN ACCESS EXCLUSIVE MODE');

    const publishers = [];
    for (const received of [300, 600]) {
      const publisher = new SteadyPublisher(broker.url, 3_000, () => `veep/t/s/d${received}/data`);
      publishers.push(publisher);
      publisher.start(300);
      await publisher.done();
      await until(async () => (await metric(app, 'mqtt_messages_received_total')) === received);
      expect(trace.of('client', 'puback')).toEqual([]);
      if (received === 600) break;
      await broker.kill();
      await broker.restart();
      await app.waitForReady();
    }
    // The broker's own state comes with QoS 0 and so without a packet id.
    const published = trace.of('broker', 'publish').flatMap(({ packet }) => packet.messageId ?? []);
    // The session was lost, so the broker numbers anew: the second 300 have the packet ids of the first.
    expect(published.slice(300)).toEqual(published.slice(0, 300));

    await sql.query('COMMIT');
    await until(async () => (await totals(sql)).rows === 600);
    await until(() => trace.of('client', 'puback').length === 300);
    expect(trace.of('client', 'puback').map(({ packet }) => packet.messageId)).toEqual(published.slice(300));
    const { rows } = await sql.query<{ device_id: string; count: string }>(
      'SELECT device_id, count(DISTINCT payload) FROM messages GROUP BY 1 ORDER BY 1',
    );
    expect(rows).toEqual([
      { device_id: 'd300', count: '300' },
      { device_id: 'd600', count: '300' },
    ]);
    expect(await app.stop()).toBe(0);
  });

  it(`away for ${AWAY_MS / 1000} s: alive and not ready meanwhile, ever longer between its tries, and back by itself`, async () => {
    const broker = await startTestBroker();
    const { app, sql } = await startBridge(broker.url);
    await broker.stop();
    await until(async () => (await statusOf(app, '/readyz')) === 503);
    await sleep(AWAY_MS);
    expect(await statusOf(app, '/livez')).toBe(200);
    expect(await (await fetch(`${app.url}/health`)).json()).toMatchObject({
      details: { broker: { status: 'down', reason: expect.stringContaining('ECONNREFUSED') } },
    });
    expect(await metric(app, 'mqtt_connection_status')).toBe(0);
    const tries = app.logs.filter(({ message }) => /ECONNREFUSED/.test(String(message))).length;
    // After 0.5-1, 1-2, 2-4, 4-8 and 8-16 s, and a line for all quick tries before; a try every second would be 15.
    expect(tries).toBeGreaterThanOrEqual(3);
    expect(tries).toBeLessThanOrEqual(6);

    await broker.restart();
    await app.waitForReady(30_000);
    const device = await connectAsync(broker.url, { protocolVersion: 5, reconnectPeriod: 0 });
    await device.publishAsync('veep/t/s/d/data', '1', { qos: 1 });
    await until(async () => (await totals(sql)).rows === 1);
    await device.endAsync();
    expect(await app.stop()).toBe(0);
  });
});
