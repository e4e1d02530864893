import { setTimeout as sleep } from 'node:timers/promises';
import { FaultProxy, startApp, startTestBroker, until } from '@tallystick/testing';
import { bridgeEnv, DatabaseServer, metric, residentMb, startBridge, status, unaccounted, untilStored } from './bridge-under-test.js';
import { form, report } from './fault-run.js';
import { PublisherLedger } from './publisher-ledger.js';
import { audit, sealedDigests, WHOLE } from './record-oracle.js';

const RECOVERED_WITHIN_MS = 30_000;
const MAX_UNACKNOWLEDGED = 4_000;
/** Short enough to be due during the outage. Mosquitto answers nobody while it saves a queue, some seconds long after ten minutes. */
const KEEPALIVE_S = form(6, 60);
const RSS_LIMIT_MB = 250;
/** What the second half of an outage may add to the first: probes and samples are answered all the time. */
const RSS_GROWTH_MB = 20;
const TIMEOUT_MS = form(240_000, 1_800_000);

describe('the database is away', () => {
  let database: DatabaseServer;
  beforeAll(async () => void (database = await DatabaseServer.start()), 60_000);

  it(
    'when the bridge starts: alive, not ready, and at work by itself when it comes',
    async () => {
      const broker = await startTestBroker();
      await database.stop('fast');
      const bridge = await startApp('ingest-bridge', bridgeEnv(database.url, broker.url, { MQTT_CLIENT_ID: 'starts-first' }));
      expect(await status(bridge, 'livez')).toBe(200);
      await sleep(2_000);
      expect([await status(bridge, 'livez'), await status(bridge, 'readyz')]).toEqual([200, 503]);
      await database.startAgain();
      const startedAtMs = performance.now();
      await bridge.waitForReady(RECOVERED_WITHIN_MS);
      const readyAfterMs = Math.round(performance.now() - startedAtMs);
      const ledger = await PublisherLedger.connect(broker.url);
      await ledger.publish('veep/early/s/d/data', ledger.nextPayload('veep/early/s/d/data'));
      await untilStored(bridge, database.url, 1);
      expect(await bridge.stop()).toBe(0);
      const found = await audit(database.url, ledger.acknowledged);
      report('database away at the start', { ...found, readyAfterMs });
      expect(found).toMatchObject({ ...WHOLE, pending: 0 });
      await ledger.end();
    },
    TIMEOUT_MS,
  );

  const stops = form(1, 5);
  it(
    `by an immediate stop under 500 msg/s, ${stops} times`,
    async () => {
      const broker = await startTestBroker();
      const own = await DatabaseServer.start();
      const bridge = await startBridge(own.url, broker.url, { DATABASE_ALLOW_DATA_LOSS: 'false', BATCH_SIZE: '200' });
      const ledger = await PublisherLedger.connect(broker.url);
      const load = ledger.load({ ratePerS: 500 });
      let sealed = new Map<string, string>();
      let slowestMs = 0;
      for (let stop = 0; stop < stops; stop++) {
        await sleep(1_500);
        sealed = await sealedDigests(own.url, sealed);
        await own.stop('immediate');
        await until(async () => (await status(bridge, 'readyz')) === 503);
        expect(await status(bridge, 'livez')).toBe(200);
        await sleep(1_000);
        await own.startAgain();
        const startedAtMs = performance.now();
        await bridge.waitForReady(RECOVERED_WITHIN_MS);
        slowestMs = Math.max(slowestMs, performance.now() - startedAtMs);
      }
      await load.stop();
      await untilStored(bridge, own.url, ledger.acknowledged.length);
      expect(await unaccounted(bridge)).toBe(0);
      expect(await bridge.stop()).toBe(0);
      const found = await audit(own.url, ledger.acknowledged);
      report(`${stops} immediate stops of the database under 500 msg/s`, { ...found, slowestReadyMs: Math.round(slowestMs) });
      expect(found).toMatchObject({ ...WHOLE, pending: 0 });
      const after = await sealedDigests(own.url);
      expect([...sealed].filter(([batchId, digest]) => after.get(batchId) !== digest)).toEqual([]);
      await ledger.end();
    },
    TIMEOUT_MS,
  );

  // The broker queues at most 1,000,000 messages: ten minutes at this rate stay below it, and what it drops would be no fault of ours.
  const outageS = Number(process.env['FAULT_OUTAGE_S'] ?? form(10, 600));
  const ratePerS = Math.min(1_500, Math.floor(900_000 / outageS));
  it(
    `for ${outageS} s under ${ratePerS} msg/s: nothing acknowledged, memory flat, keepalive kept, then all of it stored`,
    async () => {
      const broker = await startTestBroker();
      const wire = await FaultProxy.start(broker.port);
      const own = await DatabaseServer.start();
      const env = { MQTT_KEEPALIVE_S: String(KEEPALIVE_S), MAX_UNACKNOWLEDGED: String(MAX_UNACKNOWLEDGED) };
      const bridge = await startBridge(own.url, `mqtt://127.0.0.1:${wire.port}`, env);
      const ledger = await PublisherLedger.connect(broker.url);
      const load = ledger.load({ ratePerS });
      await sleep(2_000);
      await own.stop('immediate');
      await until(async () => (await status(bridge, 'readyz')) === 503);
      // The window fills up, then everything stands still.
      await until(async () => (await metric(bridge, 'mqtt_messages_unacknowledged')) >= MAX_UNACKNOWLEDGED, { timeoutMs: 30_000 });

      const [sentBytes, sinceMs] = [wire.passed.up, performance.now()];
      const rssMb: number[] = [];
      let mostUnacknowledged = 0;
      while (performance.now() - sinceMs < outageS * 1_000) {
        await sleep(500);
        rssMb.push(residentMb(bridge.pid));
        mostUnacknowledged = Math.max(mostUnacknowledged, await metric(bridge, 'mqtt_messages_unacknowledged'));
        expect([await status(bridge, 'livez'), await status(bridge, 'readyz')]).toEqual([200, 503]);
        expect(await unaccounted(bridge)).toBe(0);
      }
      // Two bytes for each PINGREQ; the first PUBACK would make it more.
      const pings = Math.ceil((performance.now() - sinceMs) / 1_000 / (KEEPALIVE_S / 2)) + 1;
      expect(wire.passed.up - sentBytes).toBeLessThanOrEqual(2 * pings);
      expect(wire.passed.up - sentBytes).toBeGreaterThan(0);
      expect(mostUnacknowledged).toBeLessThanOrEqual(2 * MAX_UNACKNOWLEDGED);

      await own.startAgain();
      const startedAtMs = performance.now();
      await bridge.waitForReady(RECOVERED_WITHIN_MS);
      const readyAfterMs = Math.round(performance.now() - startedAtMs);
      await load.stop();
      await untilStored(bridge, own.url, ledger.acknowledged.length, form(90_000, 900_000));
      const afterwardsMb = Math.round(residentMb(bridge.pid));
      expect(await unaccounted(bridge)).toBe(0);
      // One connection to the broker all the time; a second one would have its reason in the log.
      expect(bridge.logs.filter(({ message }) => String(message).startsWith('broker:'))).toEqual([]);
      expect(wire.accepted).toBe(1);
      expect(await bridge.stop()).toBe(0);

      const middle = Math.ceil(rssMb.length / 2);
      const earlyMb = Math.round(Math.max(...rssMb.slice(0, middle)));
      const lateMb = Math.round(Math.max(...rssMb.slice(middle)));
      const found = await audit(own.url, ledger.acknowledged);
      const counted = { mostUnacknowledged, earlyMb, lateMb, afterwardsMb, readyAfterMs };
      report(`database away for ${outageS} s under ${ratePerS} msg/s`, { ...found, ...counted });
      expect(found).toMatchObject({ ...WHOLE, pending: 0 });
      expect(Math.max(lateMb, afterwardsMb)).toBeLessThan(RSS_LIMIT_MB);
      expect(lateMb - earlyMb).toBeLessThan(RSS_GROWTH_MB);
      await ledger.end();
    },
    TIMEOUT_MS,
  );
});
