import { createTestDatabase, startApp, startTestBroker, type TestBroker, until } from '@tallystick/testing';
import { bridgeEnv, residentMb, startBridge, unaccounted, untilStored } from './bridge-under-test.js';
import { form, report } from './fault-run.js';
import { PublisherLedger } from './publisher-ledger.js';
import { audit, countRows, query, WHOLE } from './record-oracle.js';

const EXIT_REPLACED = 76;
const RSS_LIMIT_MB = 250;
/** From when on another bridge's pending batch counts as abandoned: BATCH_TIMEOUT_MS and 60 s more. */
const BATCH_TIMEOUT_MS = 300_000;
const ABANDONED_S = BATCH_TIMEOUT_MS / 1_000 + 60;
/** Every bridge looks through the pending batches twice a minute. */
const SWEPT_WITHIN_MS = 60_000;
const TIMEOUT_MS = form(180_000, 600_000);

describe('batches', () => {
  let broker: TestBroker;
  let ledger: PublisherLedger;
  beforeEach(async () => {
    broker = await startTestBroker();
    ledger = await PublisherLedger.connect(broker.url);
  });
  afterEach(() => ledger.end());

  it(
    'of 500 tenants at once: one each, all counts right, memory bounded',
    async () => {
      const database = await createTestDatabase();
      const bridge = await startBridge(database.url, broker.url);
      const load = ledger.load({ ratePerS: 2_000, total: form(10_000, 100_000), tenants: 500, devices: 1_000 });
      await load.done;
      await untilStored(bridge, database.url, ledger.acknowledged.length);
      const mostMb = Math.round(residentMb(bridge.pid));
      const open = await query<{ n: number; batches: number }>(
        database.url,
        `SELECT count(DISTINCT tenant_id)::int AS n, count(*)::int AS batches FROM batches WHERE status = 'pending'`,
      );
      expect(open).toEqual([{ n: 500, batches: 500 }]);
      expect(await unaccounted(bridge)).toBe(0);
      expect(await bridge.stop()).toBe(0);
      const found = await audit(database.url, ledger.acknowledged);
      report('500 tenants at once', { ...found, mostMb });
      expect(found).toMatchObject({ ...WHOLE, pending: 0, batches: 500 });
      expect(mostMb).toBeLessThan(RSS_LIMIT_MB);
    },
    TIMEOUT_MS,
  );

  it(
    'of a dead bridge: sealed at its own restart, or by another bridge when their time is over; failed when rows were altered',
    async () => {
      const database = await createTestDatabase();
      const dead = (id: string) =>
        startBridge(database.url, broker.url, {
          MQTT_CLIENT_ID: `dead-${id}`,
          MQTT_TOPICS: `${id}/+/+/+/data`,
          BATCH_TIMEOUT_MS: '300000',
        });
      const sweeper = await startBridge(database.url, broker.url, { MQTT_CLIENT_ID: 'sweeper', MQTT_TOPICS: 'sweeper/+/+/+/data' });
      // Two bridges die with three batches each: one left whole, one altered, and of the second one too young to be swept.
      for (const [id, tenants] of [
        ['returns', ['own-whole', 'own-altered']],
        ['stays', ['swept-whole', 'swept-altered', 'young']],
      ] as const) {
        const before = ledger.acknowledged.length;
        const bridge = await dead(id);
        for (const tenant of tenants) {
          const topic = `${id}/${tenant}/s/d/data`;
          for (let i = 0; i < 20; i++) await ledger.publish(topic, ledger.nextPayload(topic));
        }
        await until(async () => (await countRows(database.url)) === before + 20 * tenants.length);
        await bridge.kill();
      }
      // By hand, by somebody who may do everything; the payload stays, so the audit of rows against the ledger does too.
      await query(
        database.url,
        `UPDATE messages SET received_at = received_at + interval '1 ms' WHERE leaf_index = 7 AND tenant_id LIKE '%-altered'`,
      );
      await query(
        database.url,
        `UPDATE batches SET created_at = now() - ${ABANDONED_S + 1} * interval '1 s' WHERE tenant_id LIKE 'swept-%'`,
      );
      await query(database.url, `UPDATE batches SET created_at = now() - ${ABANDONED_S - 120} * interval '1 s' WHERE tenant_id = 'young'`);

      const returned = await dead('returns');
      const outcomes = async () =>
        Object.fromEntries(
          (
            await query<{ tenant_id: string; outcome: string }>(
              database.url,
              `SELECT tenant_id, concat_ws(' ', status, close_reason, receiver) AS outcome FROM batches`,
            )
          ).map(({ tenant_id, outcome }) => [tenant_id, outcome]),
        );
      expect(await outcomes()).toMatchObject({
        'own-whole': 'complete recovery dead-returns',
        'own-altered': 'failed recovery dead-returns',
        young: 'pending dead-stays',
      });
      await until(
        async () => !/pending/.test((await outcomes())['swept-altered']!) && !/pending/.test((await outcomes())['swept-whole']!),
        {
          timeoutMs: SWEPT_WITHIN_MS,
          intervalMs: 200,
        },
      );
      expect(await outcomes()).toMatchObject({
        'swept-whole': 'complete recovery dead-stays',
        'swept-altered': 'failed recovery dead-stays',
        young: 'pending dead-stays',
      });
      expect(sweeper.logs.filter((line) => line.level === 'error')).toHaveLength(1);
      const found = await audit(database.url, ledger.acknowledged);
      report('batches of dead bridges: 2 sealed, 2 failed, 1 left', { ...found });
      expect(found).toMatchObject({ ...WHOLE, failed: 2, pending: 1 });
      for (const app of [returned, sweeper]) expect(await app.stop()).toBe(0);
    },
    TIMEOUT_MS,
  );

  const rivals = form(2, 10);
  it(
    `of two bridges with one client id: one survives, the other exits ${EXIT_REPLACED}, nothing is doubled (${rivals} times)`,
    async () => {
      const database = await createTestDatabase();
      // First the session, then the load: what is published before anybody subscribes is nobody's.
      let survivor = await startBridge(database.url, broker.url);
      const load = ledger.load({ ratePerS: 500 });
      for (let i = 0; i < rivals; i++) {
        const rival = await startBridge(database.url, broker.url);
        expect(await survivor.exited).toEqual({ code: EXIT_REPLACED, signal: null });
        survivor = rival;
      }
      // And both at once, with the one of before still there.
      const both = await Promise.all([0, 1].map(() => startApp('ingest-bridge', bridgeEnv(database.url, broker.url))));
      const ended = await Promise.race(both.map(async (app) => ({ app, exit: await app.exited })));
      expect(ended.exit).toEqual({ code: EXIT_REPLACED, signal: null });
      expect(await survivor.exited).toEqual({ code: EXIT_REPLACED, signal: null });
      survivor = both.find((app) => app !== ended.app)!;
      await survivor.waitForReady();
      await load.stop();
      await untilStored(survivor, database.url, ledger.acknowledged.length);
      expect(await unaccounted(survivor)).toBe(0);
      expect(await survivor.stop()).toBe(0);
      const found = await audit(database.url, ledger.acknowledged);
      report(`${rivals + 1} take-overs by a bridge of the same client id`, { ...found });
      expect(found).toMatchObject({ ...WHOLE, pending: 0 });
    },
    TIMEOUT_MS,
  );
});
