import { setTimeout as sleep } from 'node:timers/promises';
import { createTestDatabase, FakeClock, FaultProxy, findFaketime, type RunningApp, startTestBroker, until } from '@tallystick/testing';
import { metric, readMetrics, startBridge, status, unaccounted, untilStored } from './bridge-under-test.js';
import { report } from './fault-run.js';
import { PublisherLedger } from './publisher-ledger.js';
import { audit, countRows, query, WHOLE } from './record-oracle.js';

const HOUR_S = 3_600;
const DAY_S = 24 * HOUR_S;
const BATCH_TIMEOUT_MS = 2_000;
/** By how much a machine that does other things may be late. */
const LATE_MS = 5_000;
const KEEPALIVE_S = 5;
const RECOVERED_WITHIN_MS = 30_000;
const TIMEOUT_MS = 240_000;

const faketime = findFaketime();
if (!faketime) report('clock jumps SKIPPED: no faketime on this machine (on Debian: node scripts/ensure-tools.mjs)', {});
const describeWithFaketime = faketime ? describe : describe.skip;

/** Whole seconds from now until so many seconds after the next midnight, UTC. */
function untilMidnight(clock: FakeClock, plusS: number): number {
  return Math.ceil(DAY_S - ((clock.nowMs() / 1000) % DAY_S) + plusS);
}

async function newestReceivedAtMs(url: string): Promise<number> {
  // By transaction and not by time, which is what is in doubt here.
  const [row] = await query<{ ms: string }>(
    url,
    'SELECT extract(epoch FROM received_at) * 1000 AS ms FROM messages ORDER BY age(xmin) LIMIT 1',
  );
  return Number(row!.ms);
}

describeWithFaketime('the clock of the bridge jumps', () => {
  it(
    'by an hour forward and back, over midnight, and days ahead, under 200 msg/s while the database is away: nothing but received_at follows it',
    async () => {
      const clock = new FakeClock(faketime!);
      const [broker, database] = await Promise.all([startTestBroker(), createTestDatabase()]);
      const toBroker = await FaultProxy.start(broker.port);
      const toDatabase = await FaultProxy.start(Number(new URL(database.url).port));
      const env = { ...clock.env, BATCH_SIZE: '100000', BATCH_TIMEOUT_MS: String(BATCH_TIMEOUT_MS), MQTT_KEEPALIVE_S: String(KEEPALIVE_S) };
      const databaseUrl = Object.assign(new URL(database.url), { port: String(toDatabase.port) }).href;
      const bridge = await startBridge(databaseUrl, `mqtt://127.0.0.1:${toBroker.port}`, env);
      const ledger = await PublisherLedger.connect(broker.url);
      const load = ledger.load({ ratePerS: 200 });
      await until(async () => (await countRows(database.url)) > 200);

      const jumps: (() => number)[] = [
        () => HOUR_S,
        () => -HOUR_S,
        () => -HOUR_S,
        () => untilMidnight(clock, -2), // and runs over midnight by itself
        () => -HOUR_S, // back over midnight
        () => untilMidnight(clock, 60), // jumps over midnight
        () => 3 * DAY_S, // where no partition is made yet
        () => -5 * DAY_S,
      ];
      let slowestMs = 0;
      for (const jump of jumps) {
        // Away, so that messages are held and tries are counted over the jump.
        toDatabase.refuse();
        toDatabase.cut();
        await until(async () => (await metric(bridge, 'ingest_in_flight_messages')) > 0);
        clock.jump(jump());
        expect(await status(bridge, 'livez')).toBe(200);
        await toDatabase.heal();
        const healedAtMs = performance.now();
        const isThere = async () => Math.abs((await newestReceivedAtMs(database.url)) - clock.nowMs()) < LATE_MS;
        await until(isThere, { timeoutMs: RECOVERED_WITHIN_MS, intervalMs: 200 });
        await bridge.waitForReady(RECOVERED_WITHIN_MS);
        slowestMs = Math.max(slowestMs, performance.now() - healedAtMs);
        await sleep(1.5 * BATCH_TIMEOUT_MS);
        expect(await status(bridge, 'livez')).toBe(200);
      }
      await load.stop();
      await untilStored(bridge, database.url, ledger.acknowledged.length);

      // Longer than the broker waits for a sign of life, with nothing but pings to give one.
      for (const jumpS of [HOUR_S, -HOUR_S]) {
        clock.jump(jumpS);
        await sleep(2_000 * KEEPALIVE_S);
      }
      expect([toBroker.accepted, await metric(bridge, 'mqtt_connection_status')]).toEqual([1, 1]);
      // The delay before a reconnect does not wait for the hour to come again.
      toBroker.cut();
      clock.jump(-HOUR_S);
      await until(async () => (await metric(bridge, 'mqtt_connection_status')) === 0);
      await until(async () => (await metric(bridge, 'mqtt_connection_status')) === 1, { timeoutMs: RECOVERED_WITHIN_MS });

      const metrics = await readMetrics(bridge);
      const [sumS, messages] = ['sum', 'count'].map((part) => metrics.get(`message_processing_duration_seconds_${part}`)!) as [
        number,
        number,
      ];
      expect(await unaccounted(bridge)).toBe(0);
      expect(await bridge.stop()).toBe(0);
      const found = await audit(database.url, ledger.acknowledged);
      const ages = await sealingAgesMs(database.url);
      const counted = {
        slowestMs: Math.round(slowestMs),
        processingMs: Math.round((sumS / messages) * 1000),
        oldestBatchMs: Math.max(...ages),
      };
      report(`${jumps.length} jumps of the clock under 200 msg/s`, { ...found, ...counted });
      expect(found).toMatchObject({ ...WHOLE, pending: 0 });
      expect(messages).toBe(found.stored);
      expect(sumS).toBeGreaterThan(0);
      expect(sumS / messages).toBeLessThan(LATE_MS / 1000);
      // Sealed by age only, and by an age that no jump shortened or prolonged.
      expect(Math.min(...ages)).toBeGreaterThan(0.5 * BATCH_TIMEOUT_MS);
      expect(Math.max(...ages)).toBeLessThan(BATCH_TIMEOUT_MS + RECOVERED_WITHIN_MS / 2);
      const [partitions] = await query<{ n: number }>(database.url, 'SELECT count(DISTINCT tableoid)::int AS n FROM messages');
      expect(partitions!.n).toBeGreaterThanOrEqual(3);
      expect(await query(database.url, 'SELECT FROM batches WHERE end_timestamp < start_timestamp OR sealed_at < created_at')).toEqual([]);
      await ledger.end();
    },
    TIMEOUT_MS,
  );

  it(
    'an hour back, and the bridge is killed between COMMIT and PUBACK: what it had just stored is recognised when it comes again',
    async () => {
      const maxUnacknowledged = 10;
      const clock = new FakeClock(faketime!);
      const [broker, database] = await Promise.all([startTestBroker(), createTestDatabase()]);
      const wire = await FaultProxy.start(broker.port);
      const start = () =>
        startBridge(database.url, `mqtt://127.0.0.1:${wire.port}`, { ...clock.env, MAX_UNACKNOWLEDGED: String(maxUnacknowledged) });
      let bridge: RunningApp = await start();
      const ledger = await PublisherLedger.connect(broker.url);
      await ledger.load({ ratePerS: 200, total: 10 * maxUnacknowledged }).done;
      await untilStored(bridge, database.url, ledger.acknowledged.length);

      await sleep(500); // the last acknowledgements are with the broker then

      clock.jump(-HOUR_S);
      wire.blackhole(['up']);
      const sentBytes = wire.passed.up;
      await ledger.load({ ratePerS: 200, total: maxUnacknowledged }).done;
      await until(async () => (await countRows(database.url)) === ledger.acknowledged.length);
      expect(wire.passed.up).toBe(sentBytes);
      await bridge.kill();
      wire.cut();
      await wire.heal();

      bridge = await start();
      await until(async () => (await metric(bridge, 'mqtt_messages_received_total')) === maxUnacknowledged);
      await until(async () => (await metric(bridge, 'mqtt_messages_unacknowledged')) === 0);
      const duplicates = await metric(bridge, 'mqtt_messages_processed_total{result="duplicate"}');
      expect(await bridge.stop()).toBe(0);
      const found = await audit(database.url, ledger.acknowledged);
      report('kill between COMMIT and PUBACK after the clock went back 1 h', { ...found, duplicates });
      expect(found).toMatchObject({ ...WHOLE, pending: 0 });
      expect(duplicates).toBe(maxUnacknowledged);
      await ledger.end();
    },
    TIMEOUT_MS,
  );
});

/** From the first commit of each batch that was sealed by age to its sealing, in ms of the database's clock, which nobody moved. */
async function sealingAgesMs(url: string): Promise<number[]> {
  const rows = await query<{ ms: string }>(
    url,
    `SELECT extract(epoch FROM sealed_at - created_at) * 1000 AS ms FROM batches WHERE close_reason = 'age'`,
  );
  return rows.map(({ ms }) => Number(ms));
}
