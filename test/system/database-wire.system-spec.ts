import { setTimeout as sleep } from 'node:timers/promises';
import { createTestDatabase, FaultProxy, startTestBroker, type TestBroker, until } from '@tallystick/testing';
import { metric, residentMb, startBridge, status, unaccounted, untilStored } from './bridge-under-test.js';
import { form, randomBetween, report, seed } from './fault-run.js';
import { PublisherLedger } from './publisher-ledger.js';
import { audit, countRows, query, WHOLE } from './record-oracle.js';

const RECOVERED_WITHIN_MS = 30_000;
const RSS_LIMIT_MB = 250;
const TIMEOUT_MS = form(180_000, 900_000);

/** A deferred constraint trigger runs inside COMMIT: everything is written, the transaction is not over. One row a commit with one tenant. */
function delayCommits(seconds: number): string {
  return `
    CREATE FUNCTION delay_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(${seconds}); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER delay_commit AFTER INSERT OR UPDATE ON batches DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION delay_commit()`;
}

describe(`the wire to the database (FAULT_SEED=${seed})`, () => {
  let broker: TestBroker;
  let ledger: PublisherLedger;
  beforeEach(async () => {
    broker = await startTestBroker();
    ledger = await PublisherLedger.connect(broker.url);
  });
  afterEach(() => ledger.end());

  /** A database behind a wire that can be broken, and a bridge that knows only the wire. */
  async function start(env: Record<string, string> = {}) {
    const database = await createTestDatabase();
    const wire = await FaultProxy.start(Number(new URL(database.url).port));
    const url = Object.assign(new URL(database.url), { port: String(wire.port) }).href;
    const bridge = await startBridge(url, broker.url, { MQTT_CLIENT_ID: 'wire', ...env });
    return { database, wire, bridge };
  }

  /** Waits for the end of the story, stops the bridge and counts. */
  async function settle({ database, bridge }: Awaited<ReturnType<typeof start>>, done: string, counted: Record<string, number> = {}) {
    await untilStored(bridge, database.url, ledger.acknowledged.length);
    await bridge.waitForReady(RECOVERED_WITHIN_MS);
    expect(await unaccounted(bridge)).toBe(0);
    expect(await bridge.stop()).toBe(0);
    const found = await audit(database.url, ledger.acknowledged);
    report(done, { ...found, ...counted });
    expect(found).toMatchObject({ ...WHOLE, pending: 0 });
    expect(await countRows(database.url, 'rejected_messages')).toBe(0);
  }

  /** Is a COMMIT of the bridge under way in the server? */
  async function commitIsRunning(url: string): Promise<boolean> {
    const rows = await query(
      url,
      `SELECT 1 FROM pg_stat_activity WHERE application_name = 'ingest-bridge' AND datname = current_database() AND state = 'active' AND query = 'COMMIT'`,
    );
    return rows.length > 0;
  }

  const resets = form(5, 25);
  it(
    `is reset in the middle of COPY, ${resets} times`,
    async () => {
      const parts = await start();
      for (let reset = 1; reset <= resets; reset++) {
        // 40 payloads of 50 KB are 6 MB of COPY: bytes in hex and, beside them, as text.
        parts.wire.resetAfter(Math.round(randomBetween(20_000, 4_000_000)));
        const publishes = Array.from({ length: 40 }, (_, i) => `veep/t/s/d${i % 7}/data`);
        await Promise.all(publishes.map((topic) => ledger.publish(topic, ledger.nextPayload(topic, 50_000))));
        await until(() => parts.wire.resets === reset);
        // Nothing partial: a commit is all there or not at all, so what is there verifies at any time.
        expect(await audit(parts.database.url, ledger.acknowledged)).toMatchObject({ ...WHOLE, lost: expect.any(Number) });
        await untilStored(parts.bridge, parts.database.url, ledger.acknowledged.length);
      }
      expect(await metric(parts.bridge, 'database_commit_failures_total{failure="passing"}')).toBeGreaterThanOrEqual(resets);
      await settle(parts, `${resets} resets in the middle of COPY`);
    },
    TIMEOUT_MS,
  );

  const blackouts = form(2, 10);
  it(
    `swallows the answer of COMMIT for seconds and is then cut, ${blackouts} times`,
    async () => {
      const parts = await start();
      await query(parts.database.url, delayCommits(1));
      const load = ledger.load({ ratePerS: 100, tenants: 1 });
      for (let i = 0; i < blackouts; i++) {
        await sleep(randomBetween(200, 1_000));
        await until(() => commitIsRunning(parts.database.url));
        parts.wire.blackhole();
        await sleep(3_000);
        expect(await status(parts.bridge, 'livez')).toBe(200);
        parts.wire.cut();
        await parts.wire.heal();
      }
      await load.stop();
      await settle(parts, `${blackouts} answers of COMMIT swallowed, then cut`);
    },
    TIMEOUT_MS,
  );

  it(
    `is cut during COMMIT, which lands after the next try has begun, ${blackouts} times`,
    async () => {
      const parts = await start();
      await query(parts.database.url, delayCommits(2));
      const load = ledger.load({ ratePerS: 100, tenants: 1 });
      for (let i = 0; i < blackouts; i++) {
        await sleep(randomBetween(200, 1_000));
        await until(() => commitIsRunning(parts.database.url));
        parts.wire.cut();
      }
      await load.stop();
      await query(parts.database.url, 'DROP TRIGGER delay_commit ON batches');
      await settle(parts, `${blackouts} cuts during COMMIT`);
    },
    TIMEOUT_MS,
  );

  it(
    'forgets its connections without closing them, while new ones work',
    async () => {
      const parts = await start();
      const load = ledger.load({ ratePerS: 100, tenants: 1 });
      await until(async () => (await countRows(parts.database.url)) > 100);
      parts.wire.strand();
      const [strandedAtMs, rows] = [performance.now(), await countRows(parts.database.url)];
      await until(async () => (await countRows(parts.database.url)) > rows + 100, { timeoutMs: RECOVERED_WITHIN_MS, intervalMs: 200 });
      const recoveredAfterMs = Math.round(performance.now() - strandedAtMs);
      await load.stop();
      await settle(parts, 'connections stranded for good', { recoveredAfterMs });
    },
    TIMEOUT_MS,
  );

  it(
    'is slow: latency and a narrow link make larger commits, not lost ones',
    async () => {
      const parts = await start();
      parts.wire.delay(50);
      parts.wire.limit(1_000_000);
      await ledger.load({ ratePerS: 1_000, total: 3_000 }).done;
      await settle(parts, 'database 100 ms away on 1 MB/s');
    },
    TIMEOUT_MS,
  );

  const slowS = form(10, 120);
  it(
    `leads to a database that takes 2 s a commit, for ${slowS} s under 1,500 msg/s`,
    async () => {
      const toBroker = await FaultProxy.start(broker.port);
      const database = await createTestDatabase();
      const env = { MQTT_KEEPALIVE_S: '6', BATCH_SIZE: '100000', MAX_UNACKNOWLEDGED: '1000' };
      const bridge = await startBridge(database.url, `mqtt://127.0.0.1:${toBroker.port}`, env);
      await query(database.url, delayCommits(2));
      const load = ledger.load({ ratePerS: 1_500, tenants: 1 });
      const rssMb: number[] = [];
      let mostUnacknowledged = 0;
      for (const endAtMs = performance.now() + slowS * 1_000; performance.now() < endAtMs; await sleep(500)) {
        rssMb.push(residentMb(bridge.pid));
        mostUnacknowledged = Math.max(mostUnacknowledged, await metric(bridge, 'mqtt_messages_unacknowledged'));
        expect(await status(bridge, 'livez')).toBe(200);
      }
      await load.stop();
      const storedMeanwhile = await countRows(database.url);
      await query(database.url, 'DROP TRIGGER delay_commit ON batches');
      expect(storedMeanwhile).toBeGreaterThan(0);
      expect(storedMeanwhile).toBeLessThan(ledger.acknowledged.length);
      expect(mostUnacknowledged).toBeLessThanOrEqual(2_000);
      await settle({ database, wire: toBroker, bridge }, `2 s a commit for ${slowS} s under 1,500 msg/s`, {
        storedMeanwhile,
        mostUnacknowledged,
        mostMb: Math.round(Math.max(...rssMb)),
      });
      expect(Math.max(...rssMb)).toBeLessThan(RSS_LIMIT_MB);
      expect(toBroker.accepted).toBe(1);
    },
    TIMEOUT_MS,
  );
});
