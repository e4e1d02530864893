import { readFileSync } from 'node:fs';
import { createTestDatabase, type RunningApp, startApp, startTestBroker, type TestBroker, until } from '@tallystick/testing';
import { connect, type IConnackPacket } from 'mqtt';
import pg from 'pg';
import { compare, SteadyPublisher, totals } from './broker-ledger.js';

const LONG = process.env['FAULTS'] === 'long';
const MESSAGES = LONG ? 60_000 : 8_000;
const RATE_PER_S = LONG ? 1_000 : 800;
/** The default only in the long run. */
const DRAIN_AFTER_S = LONG ? 60 : 5;

describe('bridges without a client id of their own', () => {
  let broker: TestBroker;
  let sql: pg.Client;
  let env: Record<string, string>;

  beforeEach(async () => {
    const [started, database] = await Promise.all([startTestBroker(), createTestDatabase()]);
    broker = started;
    env = {
      DATABASE_URL: database.url,
      DATABASE_ALLOW_DATA_LOSS: 'true',
      MQTT_URL: broker.url,
      MQTT_SHARED_GROUP: 'bridges',
      SLOT_DRAIN_AFTER_S: String(DRAIN_AFTER_S),
    };
    sql = new pg.Client({ connectionString: database.url });
    sql.on('error', () => undefined);
    await sql.connect();
  });
  afterEach(() => sql.end());

  async function start(): Promise<RunningApp> {
    const app = await startApp('ingest-bridge', env);
    await app.waitForReady();
    return app;
  }

  const slots = async () =>
    (
      await sql.query<{ slot: number; drained: boolean }>(
        `SELECT slot, drained_at IS NOT NULL AS drained FROM receiver_slots ORDER BY slot`,
      )
    ).rows;
  const holders = async () =>
    (
      await sql.query<{ pid: number }>(
        `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'ingest-bridge slot'`,
      )
    ).rows;

  const drained =
    (...which: number[]) =>
    async () =>
      (await slots()).filter((row) => row.drained && which.includes(row.slot)).length === which.length;

  /** Whether the broker keeps a session for a client id; asking ends it. */
  async function hasSession(clientId: string): Promise<boolean> {
    const client = connect(broker.url, {
      clientId,
      clean: false,
      protocolVersion: 5,
      properties: { sessionExpiryInterval: 0 },
      reconnectPeriod: 0,
    });
    const { sessionPresent } = await new Promise<IConnackPacket>((resolve) => client.once('connect', resolve));
    await client.endAsync();
    return sessionPresent;
  }

  /** Everything published is stored once, and the bridges that are left stop in order. */
  async function expectOnce(publisher: SteadyPublisher, messages: number, left: RunningApp[]): Promise<void> {
    await until(async () => (await compare(sql, publisher)).lost === 0, { timeoutMs: 40_000, intervalMs: 200 });
    expect(await Promise.all(left.map((app) => app.stop()))).toEqual(left.map(() => 0));
    expect(publisher.inDoubt).toEqual([]);
    expect(await compare(sql, publisher)).toEqual({ lost: 0, doubled: 0, unknown: 0 });
    expect(await totals(sql)).toEqual({ rows: messages, inBatches: messages, ofDevices: messages, failedBatches: 0 });
  }

  it(`lose nothing when two of three are killed and stay away: ${MESSAGES} messages`, async () => {
    const [steady, ...gone] = [await start(), await start(), await start()];
    expect(await slots()).toEqual([1, 2, 3].map((slot) => ({ slot, drained: false })));
    const publisher = new SteadyPublisher(broker.url, RATE_PER_S);
    publisher.start(MESSAGES);
    await until(() => publisher.acknowledged.length >= MESSAGES * 0.2, { timeoutMs: 60_000 });
    await Promise.all(gone.map((app) => app.kill()));
    const killedAtMs = Date.now();
    await until(drained(2, 3), { timeoutMs: 150_000, intervalMs: 200 });
    console.info(`two queues drained ${((Date.now() - killedAtMs) / 1000).toFixed(1)} s after their bridges were killed`);
    await publisher.done();
    expect([await hasSession('bridges-2'), await hasSession('bridges-3')]).toEqual([false, false]);
    await expectOnce(publisher, MESSAGES, [steady]);
  }, 240_000);

  it('drain again what was left when the drain itself is killed, and leave nothing behind of one that was stopped', async () => {
    const messages = 6_000;
    const [steady, gone] = [await start(), await start()];
    const publisher = new SteadyPublisher(broker.url, 3_000);
    publisher.start(messages);
    await until(() => publisher.acknowledged.length >= messages * 0.2, { timeoutMs: 60_000 });
    expect(await gone.stop()).toBe(0);
    await publisher.done();
    const drainer = await until(() => childrenOf(steady.pid)[0], { timeoutMs: (DRAIN_AFTER_S + 20) * 1_000, intervalMs: 5 });
    process.kill(drainer, 'SIGKILL');
    expect(await drained(2)()).toBe(false);
    await until(drained(2), { timeoutMs: (DRAIN_AFTER_S + 40) * 1_000, intervalMs: 200 });
    expect(await hasSession('bridges-2')).toBe(false);
    await expectOnce(publisher, messages, [steady]);
  }, 240_000);

  it('come back under the name they had, with what the broker kept for them', async () => {
    const messages = 3_000;
    const [steady, killed] = [await start(), await start()];
    const publisher = new SteadyPublisher(broker.url, 1_500);
    publisher.start(messages);
    await until(() => publisher.acknowledged.length >= messages * 0.3, { timeoutMs: 60_000 });
    await killed.kill();
    const back = await start();
    await publisher.done();
    expect(await slots()).toEqual([1, 2].map((slot) => ({ slot, drained: false })));
    expect(back.logs).toContainEqual(expect.objectContaining({ clientId: 'bridges-2' }));
    await expectOnce(publisher, messages, [steady, back]);
  }, 120_000);

  it('go on when the connection that holds the slot is cut, and hold it again', async () => {
    const bridge = await start();
    const [holder] = await holders();
    await sql.query(`SELECT pg_terminate_backend($1)`, [holder!.pid]);
    await until(async () => (await holders()).some(({ pid }) => pid !== holder!.pid), { timeoutMs: 30_000 });
    expect(await slots()).toEqual([{ slot: 1, drained: false }]);
    const publisher = new SteadyPublisher(broker.url, 500);
    publisher.start(100);
    await publisher.done();
    await expectOnce(publisher, 100, [bridge]);
  }, 60_000);
});

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
}
