import { setTimeout as sleep } from 'node:timers/promises';
import { FaultProxy, type RunningApp, startApp, startTestBroker, type TestBroker, until } from '@tallystick/testing';
import { bridgeEnv, DatabaseServer, residentMb, status, unaccounted, untilStored } from './bridge-under-test.js';
import { form, randomBetween, report, seed } from './fault-run.js';
import { type Load, PublisherLedger } from './publisher-ledger.js';
import { audit, countRows, query, sealedDigests, WHOLE } from './record-oracle.js';

const RATE_PER_S = 200;
const [LASTING_S, FAULT_EVERY_S] = form([30, 8], [1_200, 120]);
const RECOVERED_WITHIN_MS = 30_000;
const STOPPED_WITHIN_MS = 10_000;
const RSS_LIMIT_MB = 250;
const TIMEOUT_MS = form(300_000, 2_400_000);
const MARKER = 'veep/marker/site/device/data';

/** What faults are injected into; one that restarts something puts the new one in its place. */
interface Plant {
  bridge: RunningApp;
  load: Load;
  readonly broker: TestBroker;
  readonly database: DatabaseServer;
  readonly toBroker: FaultProxy;
  readonly toDatabase: FaultProxy;
  readonly ledger: PublisherLedger;
  startBridge(): Promise<RunningApp>;
}

interface Fault {
  name: string;
  /** Resolves at the end of the fault. */
  inject(plant: Plant): Promise<void>;
  /** The process is gone or stopped meanwhile and cannot answer /livez. */
  cannotAnswer?: true;
}

const lasting = (fromS: number, toS: number) => sleep(1_000 * randomBetween(fromS, toS));

const FAULTS: readonly Fault[] = [
  {
    name: 'kill -9',
    cannotAnswer: true,
    inject: async (plant) => {
      await plant.bridge.kill();
      expect(await plant.bridge.exited).toEqual({ code: null, signal: 'SIGKILL' });
      await lasting(0, 2);
      plant.bridge = await plant.startBridge();
    },
  },
  {
    name: 'SIGTERM',
    cannotAnswer: true,
    inject: async (plant) => {
      const startedAtMs = performance.now();
      expect(await plant.bridge.stop()).toBe(0);
      expect(performance.now() - startedAtMs).toBeLessThan(STOPPED_WITHIN_MS);
      await lasting(0, 2);
      plant.bridge = await plant.startBridge();
    },
  },
  {
    name: 'SIGSTOP',
    cannotAnswer: true,
    inject: async ({ bridge }) => {
      process.kill(bridge.pid, 'SIGSTOP');
      await lasting(1, form(5, 40));
      process.kill(bridge.pid, 'SIGCONT');
    },
  },
  { name: 'PostgreSQL immediate', inject: (plant) => restartDatabase(plant, 'immediate') },
  { name: 'PostgreSQL fast', inject: (plant) => restartDatabase(plant, 'fast') },
  {
    name: 'Mosquitto restart',
    inject: async (plant) => {
      const { broker, toBroker, ledger } = plant;
      // The broker goes while it waits for acknowledgements of the bridge, so it must deliver again. Its acknowledgements to the
      // publisher have all arrived: what a publisher sends a second time would be a second message.
      toBroker.blackhole(['up']);
      await sleep(500);
      await plant.load.stop();
      await broker.stop();
      await lasting(0, form(2, 20));
      await broker.restart();
      await toBroker.heal();
      plant.load = ledger.load({ ratePerS: RATE_PER_S });
    },
  },
  { name: 'broker wire cut', inject: ({ toBroker }) => Promise.resolve(toBroker.cut()) },
  {
    name: 'broker wire blackholed',
    inject: async ({ toBroker }) => {
      toBroker.blackhole(randomBetween(0, 1) < 0.5 ? ['up', 'down'] : ['up']);
      // In the long form longer than the keepalive of either side waits.
      await lasting(1, form(5, 40));
      await toBroker.heal();
    },
  },
  {
    name: 'broker wire slow',
    inject: async ({ toBroker }) => {
      toBroker.delay(randomBetween(100, 1_000));
      toBroker.limit(randomBetween(10_000, 50_000));
      await lasting(2, form(6, 40));
      await toBroker.heal();
    },
  },
  {
    name: 'database wire reset',
    inject: async ({ toDatabase }) => {
      const before = toDatabase.resets;
      toDatabase.resetAfter(Math.round(randomBetween(1, 100_000)));
      await until(() => toDatabase.resets > before);
    },
  },
  { name: 'database wire stranded', inject: ({ toDatabase }) => Promise.resolve(toDatabase.strand()) },
  {
    name: 'database wire cut during COMMIT',
    inject: async ({ toDatabase, database }) => {
      // A deferred trigger runs inside COMMIT.
      await query(
        database.url,
        `CREATE OR REPLACE FUNCTION delay_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER delay_commit AFTER INSERT OR UPDATE ON batches DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW EXECUTE FUNCTION delay_commit()`,
      );
      await until(() => commitIsRunning(database.url));
      toDatabase.cut();
      await query(database.url, 'DROP TRIGGER delay_commit ON batches');
    },
  },
];

async function restartDatabase({ database }: Plant, mode: 'fast' | 'immediate'): Promise<void> {
  await database.stop(mode);
  await lasting(0, form(2, 20));
  await database.startAgain();
}

async function commitIsRunning(url: string): Promise<boolean> {
  const active = `SELECT FROM pg_stat_activity WHERE application_name = 'ingest-bridge' AND state = 'active' AND query = 'COMMIT'`;
  return (await query(url, active)).length > 0;
}

/** All kinds in random order, then all again: no kind is left out of a run that is long enough. */
function* drawn(): Generator<Fault, never> {
  for (;;) {
    const bag = [...FAULTS];
    while (bag.length > 0) yield bag.splice(Math.floor(randomBetween(0, bag.length)), 1)[0]!;
  }
}

async function start(): Promise<Plant> {
  const [broker, database] = [await startTestBroker(), await DatabaseServer.start()];
  const [toBroker, toDatabase] = [await FaultProxy.start(broker.port), await FaultProxy.start(database.port)];
  const env = { DATABASE_ALLOW_DATA_LOSS: 'false', BATCH_SIZE: '500', BATCH_TIMEOUT_MS: '5000', MQTT_KEEPALIVE_S: '10' };
  const startBridge = () =>
    startApp('ingest-bridge', bridgeEnv(database.urlVia(toDatabase.port), `mqtt://127.0.0.1:${toBroker.port}`, env));
  const bridge = await startBridge();
  await bridge.waitForReady();
  const ledger = await PublisherLedger.connect(broker.url);
  const load = ledger.load({ ratePerS: RATE_PER_S });
  return { bridge, load, broker, database, toBroker, toDatabase, ledger, startBridge };
}

/** Injects the fault and waits until the bridge is at work again; the ms that it took from the fault's end. */
async function endure(plant: Plant, fault: Fault): Promise<number> {
  const watched = watch(plant, fault.cannotAnswer === true);
  await fault.inject(plant);
  const endedAtMs = performance.now();
  watched.canAnswer = true;
  const markers = await countMarkers(plant);
  await plant.ledger.publish(MARKER, plant.ledger.nextPayload(MARKER));
  await plant.bridge.waitForReady(RECOVERED_WITHIN_MS);
  await until(async () => (await countMarkers(plant)) > markers, {
    timeoutMs: Math.max(0, RECOVERED_WITHIN_MS - (performance.now() - endedAtMs)),
    intervalMs: 100,
  });
  const recoveredAfterMs = performance.now() - endedAtMs;
  expect(await watched.stop()).toEqual([]);
  expect(await unaccounted(plant.bridge)).toBe(0);
  return recoveredAfterMs;
}

async function countMarkers({ database }: Plant): Promise<number> {
  const [row] = await query<{ n: number }>(database.url, `SELECT count(*)::int AS n FROM messages WHERE topic = $1`, [MARKER]);
  return row!.n;
}

let mostMb = 0;

/** Asks /livez and looks at the memory all the time; `stop` tells what was wrong. */
function watch(plant: Plant, cannotAnswer: boolean) {
  const wrong: string[] = [];
  let stopped = false;
  const watched = {
    canAnswer: !cannotAnswer,
    stop: async () => {
      stopped = true;
      await watching;
      return wrong;
    },
  };
  const watching = (async () => {
    for (; !stopped; await sleep(250)) {
      if (!watched.canAnswer) continue;
      const livez = await status(plant.bridge, 'livez').catch((error: Error) => error.message);
      if (livez !== 200) wrong.push(`livez ${livez}`);
      mostMb = Math.max(mostMb, residentMb(plant.bridge.pid));
    }
  })();
  return watched;
}

describe(`random faults (FAULT_SEED=${seed})`, () => {
  it(
    `${LASTING_S} s at ${RATE_PER_S} msg/s with a fault every ${FAULT_EVERY_S} s`,
    async () => {
      const plant = await start();
      const faults = drawn();
      const injected: string[] = [];
      const recoveriesMs: number[] = [];
      let sealed = new Map<string, string>();
      const startedAtMs = performance.now();
      const elapsedS = () => (performance.now() - startedAtMs) / 1_000;
      while (elapsedS() < LASTING_S) {
        const nextAtS = (injected.length + randomBetween(0.2, 1)) * FAULT_EVERY_S;
        await sleep(Math.max(500, (nextAtS - elapsedS()) * 1_000));
        sealed = await sealedDigests(plant.database.url, sealed);
        const fault = faults.next().value;
        injected.push(fault.name);
        try {
          recoveriesMs.push(Math.round(await endure(plant, fault)));
        } catch (cause) {
          throw new Error(`after ${injected.join(', ')} (FAULT_SEED=${seed})`, { cause });
        }
        expect(mostMb).toBeLessThan(RSS_LIMIT_MB);
      }
      await plant.load.stop();
      const { bridge, database, ledger } = plant;
      await untilStored(bridge, database.url, ledger.acknowledged.length);
      expect(await unaccounted(bridge)).toBe(0);
      expect(await bridge.stop()).toBe(0);

      const found = await audit(database.url, ledger.acknowledged);
      const counted = { sealedBefore: sealed.size, slowestRecoveryMs: Math.max(...recoveriesMs), mostMb: Math.round(mostMb) };
      const list = injected.map((name, index) => `${name} ${recoveriesMs[index]} ms`).join(', ');
      report(`${injected.length} random faults in ${Math.round(elapsedS())} s under ${RATE_PER_S} msg/s: ${list}`, {
        ...found,
        ...counted,
      });
      expect(found).toMatchObject({ ...WHOLE, pending: 0 });
      expect(await countRows(database.url, 'rejected_messages')).toBe(0);
      const after = await sealedDigests(database.url);
      expect([...sealed].filter(([batchId, digest]) => after.get(batchId) !== digest)).toEqual([]);
      await ledger.end();
    },
    TIMEOUT_MS,
  );
});
