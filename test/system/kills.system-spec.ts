import { setTimeout as sleep } from 'node:timers/promises';
import { createTestDatabase, FaultProxy, PacketTrace, startTestBroker, until } from '@tallystick/testing';
import { metric, startBridge, status, unaccounted, untilStored } from './bridge-under-test.js';
import { form, randomBetween, report, seed } from './fault-run.js';
import { PublisherLedger } from './publisher-ledger.js';
import { audit, countRows, query, sealedDigests, WHOLE } from './record-oracle.js';

const READY_WITHIN_MS = 5_000;
const STOPPED_WITHIN_MS = 10_000;
/** sysexits.h EX_SOFTWARE, of an error that nobody expected. */
const SOFTWARE_ERROR = 70;
const TIMEOUT_MS = form(180_000, 1_800_000);

describe(`the bridge is killed (FAULT_SEED=${seed})`, () => {
  const kills = form(5, 50);
  it(
    `at ${kills} random moments under 500 msg/s`,
    async () => {
      const [broker, database] = await Promise.all([startTestBroker(), createTestDatabase()]);
      const start = () => startBridge(database.url, broker.url, { BATCH_SIZE: '200' });
      let bridge = await start();
      const ledger = await PublisherLedger.connect(broker.url);
      const load = ledger.load({ ratePerS: 500 });
      let sealed = new Map<string, string>();
      const readyAfterMs: number[] = [];
      for (let kill = 0; kill < kills; kill++) {
        await sleep(randomBetween(200, 2_000));
        sealed = await sealedDigests(database.url, sealed);
        await bridge.kill();
        const startedAtMs = performance.now();
        bridge = await start();
        readyAfterMs.push(performance.now() - startedAtMs);
      }
      await load.stop();
      await untilStored(bridge, database.url, ledger.acknowledged.length);
      expect(await unaccounted(bridge)).toBe(0);
      expect(await bridge.stop()).toBe(0);

      const found = await audit(database.url, ledger.acknowledged);
      const [fastest, slowest] = [Math.min(...readyAfterMs), Math.max(...readyAfterMs)].map(Math.round);
      report(`${kills} kills -9 under 500 msg/s`, { ...found, fastestReadyMs: fastest!, slowestReadyMs: slowest! });
      expect(found).toMatchObject({ ...WHOLE, pending: 0 });
      // The fastest, because a machine that does other things delays the others; what the bridge itself waited for would delay all.
      expect(fastest).toBeLessThan(READY_WITHIN_MS);
      const after = await sealedDigests(database.url);
      expect([...sealed].filter(([batchId, digest]) => after.get(batchId) !== digest)).toEqual([]);
      await ledger.end();
    },
    TIMEOUT_MS,
  );

  const windows = form(10, 100);
  it(
    `${windows} times between COMMIT and PUBACK`,
    async () => {
      const [broker, database] = await Promise.all([startTestBroker(), createTestDatabase()]);
      const wire = await FaultProxy.start(broker.port);
      const start = () => startBridge(database.url, `mqtt://127.0.0.1:${wire.port}`);
      let bridge = await start();
      const ledger = await PublisherLedger.connect(broker.url);
      for (let round = 1; round <= windows; round++) {
        wire.blackhole(['up']);
        const sentBytes = wire.passed.up;
        // Two of the same bytes on one topic, the same on another, and one that is like no other.
        const topics = ['veep/a/s/same/data', 'veep/a/s/same/data', 'veep/a/s/other/data'];
        await Promise.all(topics.map((topic) => ledger.publish(topic, '{"state":"off"}')));
        await ledger.publish('veep/b/s/d/data', ledger.nextPayload('veep/b/s/d/data'));
        await until(async () => (await countRows(database.url)) === ledger.acknowledged.length);
        expect(wire.passed.up).toBe(sentBytes);
        await bridge.kill();
        wire.cut();
        await wire.heal();

        bridge = await start();
        await until(async () => (await metric(bridge, 'mqtt_messages_processed_total{result="duplicate"}')) === 4);
        await until(async () => (await metric(bridge, 'mqtt_messages_unacknowledged')) === 0);
      }
      expect(await bridge.stop()).toBe(0);
      const found = await audit(database.url, ledger.acknowledged);
      report(`${windows} kills between COMMIT and PUBACK`, { ...found });
      expect(found).toMatchObject({ ...WHOLE, pending: 0, stored: 4 * windows });
      await ledger.end();
    },
    TIMEOUT_MS,
  );

  const [identical, during] = form([200, 4], [1_000, 20]);
  it(
    `${during} times while ${identical} messages of the same bytes are published`,
    async () => {
      const [broker, database] = await Promise.all([startTestBroker(), createTestDatabase()]);
      let bridge = await startBridge(database.url, broker.url);
      const ledger = await PublisherLedger.connect(broker.url);
      for (let kill = 0; kill < during; kill++) {
        const publishing = (async () => {
          for (let i = 0; i < identical / during; i++) {
            await ledger.publish('veep/t/s/d/data', '{"state":"off"}');
            await sleep(10);
          }
        })();
        await sleep(randomBetween(20, 500));
        await bridge.kill();
        bridge = await startBridge(database.url, broker.url);
        await publishing;
      }
      await untilStored(bridge, database.url, identical);
      expect(await unaccounted(bridge)).toBe(0);
      const duplicates = await metric(bridge, 'mqtt_messages_processed_total{result="duplicate"}');
      expect(await bridge.stop()).toBe(0);
      const found = await audit(database.url, ledger.acknowledged);
      report(`${identical} identical messages over ${during} kills`, { ...found, duplicatesAfterLastKill: duplicates });
      expect(found).toMatchObject({ ...WHOLE, pending: 0, stored: identical });
      await ledger.end();
    },
    TIMEOUT_MS,
  );
});

describe('the bridge meets a promise that is rejected and that nobody handles', () => {
  it('under 500 msg/s: one fatal line, exit 70, and its next life goes on without loss', async () => {
    const [broker, database] = await Promise.all([startTestBroker(), createTestDatabase()]);
    const reject = `process.on('SIGUSR2', () => void Promise.reject(new Error('nobody handles this')))`;
    const rejecting = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(reject)}` };
    const bridge = await startBridge(database.url, broker.url, rejecting);
    const ledger = await PublisherLedger.connect(broker.url);
    const load = ledger.load({ ratePerS: 500 });
    await until(async () => (await countRows(database.url)) > 500);
    process.kill(bridge.pid, 'SIGUSR2');
    expect(await bridge.exited).toEqual({ code: SOFTWARE_ERROR, signal: null });
    expect(bridge.logs.filter(({ level }) => level === 'fatal')).toMatchObject([
      { message: 'unhandledRejection', error: { message: 'nobody handles this' } },
    ]);

    const next = await startBridge(database.url, broker.url);
    await load.stop();
    await untilStored(next, database.url, ledger.acknowledged.length);
    expect(await unaccounted(next)).toBe(0);
    expect(await next.stop()).toBe(0);
    const found = await audit(database.url, ledger.acknowledged);
    report('unhandled rejection under 500 msg/s', { ...found, exitCode: SOFTWARE_ERROR });
    expect(found).toMatchObject({ ...WHOLE, pending: 0 });
    await ledger.end();
  });
});

describe('the bridge is stopped', () => {
  it('by SIGTERM in the middle of a batch under load: 503, exit 0, DISCONNECT, the rest at the next start', async () => {
    const [broker, database] = await Promise.all([startTestBroker(), createTestDatabase()]);
    const trace = await PacketTrace.start(broker.port);
    const bridge = await startBridge(database.url, trace.url, { BATCH_SIZE: '100000' });
    // Commits that take half a second, so that the stop surely meets one.
    await query(
      database.url,
      `CREATE FUNCTION delay_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$;
       CREATE CONSTRAINT TRIGGER delay_commit AFTER INSERT OR UPDATE ON batches DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW WHEN (NEW.tenant_id = 'tenant0') EXECUTE FUNCTION delay_commit()`,
    );
    const ledger = await PublisherLedger.connect(broker.url);
    const load = ledger.load({ ratePerS: 500 });
    await until(async () => (await countRows(database.url)) > 500);

    const startedAtMs = performance.now();
    const stopping = bridge.stop();
    await until(async () => (await status(bridge, 'readyz')) === 503);
    expect(await status(bridge, 'livez')).toBe(200);
    expect(await stopping).toBe(0);
    const stoppedAfterMs = performance.now() - startedAtMs;
    expect(stoppedAfterMs).toBeLessThan(STOPPED_WITHIN_MS);
    const last = trace.packets.filter(({ from }) => from === 'client').at(-1)!.packet;
    expect(last).toMatchObject({ cmd: 'disconnect' });
    // 4 would ask the broker to publish the will.
    expect('reasonCode' in last && last.reasonCode).not.toBe(4);
    const stopped = await audit(database.url, ledger.acknowledged);
    expect(stopped).toMatchObject({ ...WHOLE, lost: expect.any(Number), pending: 0 });
    // What is stored was acknowledged before the DISCONNECT. A broker that reads late may send some of it again all the same.
    expect(trace.of('client', 'puback')).toHaveLength(stopped.stored);

    const next = await startBridge(database.url, trace.url);
    await load.stop();
    await untilStored(next, database.url, ledger.acknowledged.length);
    expect(await next.stop()).toBe(0);
    const found = await audit(database.url, ledger.acknowledged);
    report('SIGTERM in mid-batch under 500 msg/s', { ...found, stoppedAfterMs: Math.round(stoppedAfterMs) });
    expect(found).toMatchObject({ ...WHOLE, pending: 0 });
    await ledger.end();
  });
});
