import { AcknowledgementWindow, type Delivery } from '@tallystick/mqtt';
import { createDataSource, DatabaseConnection, uuidv7 } from '@tallystick/persistence';
import { createTestDatabase } from '@tallystick/testing';
import { message, packet } from '../../test/messages.js';
import { planCommit } from '../batching/commit-plan.js';
import type { OpenBatch } from '../batching/open-batch.js';
import { TelemetryRepository } from '../committing/telemetry.repository.js';
import { IngestBridgeConfig } from '../ingest-bridge.config.js';
import { rejection } from '../intake/telemetry-message.js';
import { Redeliveries } from './redeliveries.js';
import { Receiver } from '../slots/receiver.js';

const MAX_UNACKNOWLEDGED = 10;
const CAPACITY = 2 * MAX_UNACKNOWLEDGED;
const HOUR_MS = 3_600_000;
const NOW_MS = Date.now();

describe('Redeliveries', () => {
  let connection: DatabaseConnection;
  let receivers = 0;

  beforeAll(async () => {
    connection = new DatabaseConnection(createDataSource((await createTestDatabase()).url), { allowDataLoss: true });
    await connection.connect();
  });
  afterAll(() => connection.close());

  /** A bridge under a client id of its own, without a broker: it stores, and its next life remembers. */
  async function bridge({ batchSize = 50 } = {}) {
    const receiver = new Receiver(`bridge-${++receivers}`);
    const config = Object.assign(new IngestBridgeConfig(), { maxUnacknowledged: MAX_UNACKNOWLEDGED });
    const repository = new TelemetryRepository(connection, config, receiver);
    await repository.ensurePartitions(NOW_MS - 2 * HOUR_MS, NOW_MS + 2 * HOUR_MS);
    await repository.beginEpoch();
    const rules = { batchSize, batchBytes: 1e9, batchTimeoutMs: HOUR_MS, mostOpenBatches: 100 };
    const window = new AcknowledgementWindow(1);
    let open: ReadonlyMap<string, OpenBatch> = new Map();
    let sequence = 0;

    /** Stores so many messages or rejections, received `everyMs` from `fromMs` on, five a commit; the deliveries in order. */
    async function store(
      fromMs: number,
      count: number,
      kind: 'accepted' | 'rejected' = 'accepted',
      everyMs = 1,
      topic = 'veep/t/s/d/data',
    ) {
      const deliveries: Delivery[] = [];
      for (let at = 0; at < count; at += 5) {
        const packets = Array.from({ length: Math.min(5, count - at) }, (_, i) => {
          const receipt = window.hold((++sequence % 65_535) + 1);
          return packet('t', `{"seq":${sequence}}`, { topic, receivedAtMs: fromMs + (at + i) * everyMs, receipt });
        });
        const messages = kind === 'accepted' ? packets.map((taken) => message('t', taken.payload.toString(), taken)) : [];
        const refusal = { reason: 'not_json', detail: 'x', tenantId: 't' } as const;
        const rejections = kind === 'rejected' ? packets.map((taken) => rejection(taken, refusal)) : [];
        const plan = planCommit({ open, messages, rejections, rules, nowMs: 0, newBatchId: () => uuidv7(fromMs), sealAll: false });
        await repository.commit(plan);
        open = plan.openAfter;
        const stored = [
          ...messages.map((one) => [one, one.messageHash] as const),
          ...rejections.map((one) => [one, one.payloadHash] as const),
        ];
        for (const [{ topic, receipt }, payloadHash] of stored)
          deliveries.push({ packetId: receipt!.packetId, topic, payloadHash, connection: 1 });
      }
      return deliveries;
    }

    /** How many of these deliveries the next process under this client id knows when the broker sends them again: by either way. */
    async function known(deliveries: Delivery[]): Promise<number> {
      const [byBatch, byId] = [await knownAfter(deliveries, 1e9), await knownAfter(deliveries, -1)];
      expect(byBatch).toBe(byId);
      return byBatch;
    }

    async function knownAfter(deliveries: Delivery[], mostOfBatches?: number, on = connection): Promise<number> {
      const redeliveries = new Redeliveries(on, config, receiver);
      await redeliveries.load(mostOfBatches);
      expect(redeliveries.ledger.size).toBeLessThanOrEqual(CAPACITY);
      return deliveries.filter((delivery) => redeliveries.ledger.takeRepeat(delivery)).length;
    }
    return { store, known, knownAfter };
  }

  it('remembers the last that were stored, messages and rejections, and none before them', async () => {
    const { store, known } = await bridge();
    const old = await store(NOW_MS, 100);
    const last = [...(await store(NOW_MS + 100, 10)), ...(await store(NOW_MS + 110, 5, 'rejected')), ...(await store(NOW_MS + 115, 5))];
    expect(await known(last)).toBe(CAPACITY);
    expect(await known(old)).toBe(0);
  });

  it('reads little although another receiver stored much in the same time', async () => {
    const { url } = await createTestDatabase();
    const single = new DatabaseConnection(createDataSource(url, { poolSize: 1 }), { allowDataLoss: true });
    await single.connect();
    const shared = connection;
    connection = single;
    const [quiet, busy] = [await bridge({ batchSize: 5 }), await bridge({ batchSize: 1_000 })];
    connection = shared;
    const first = await quiet.store(NOW_MS - 5_000, 20);
    await busy.store(NOW_MS - 4_000, 3_000);
    const last = await quiet.store(NOW_MS - 500, 5);
    const read = async () => {
      const sum = `SELECT pg_stat_force_next_flush(), sum(idx_tup_read)::int AS read FROM pg_stat_user_indexes WHERE relname LIKE 'messages%'`;
      await single.dataSource.query(sum);
      return (await single.dataSource.query<{ read: number }[]>(sum))[0]!.read;
    };
    const before = await read();
    expect(await quiet.knownAfter([...first.slice(5), ...last], undefined, single)).toBe(CAPACITY);
    expect((await read()) - before).toBeLessThan(200);
    expect(await quiet.knownAfter([...first.slice(5), ...last], -1, single)).toBe(CAPACITY);
    expect((await read()) - before).toBeGreaterThan(3_000);
    await single.close();
  });

  it('remembers nothing of another receiver, and nothing without a batch', async () => {
    const [first, second] = [await bridge(), await bridge()];
    const others = await first.store(NOW_MS, 10);
    expect(await second.known(others)).toBe(0);
  });

  it('knows what was stored after a step back of an hour, although it has the lowest ids', async () => {
    const { store, known } = await bridge();
    await store(NOW_MS, 100);
    expect(await known(await store(NOW_MS - HOUR_MS, CAPACITY))).toBe(CAPACITY);
  });

  it('knows it also in a batch that was open before the step', async () => {
    const { store, known } = await bridge({ batchSize: 1_000 });
    await store(NOW_MS, 100);
    expect(await known(await store(NOW_MS - HOUR_MS, CAPACITY))).toBe(CAPACITY);
  });

  it('knows what was stored on both sides of the step', async () => {
    const { store, known } = await bridge();
    await store(NOW_MS - 5_000, 100);
    const [before, after] = [await store(NOW_MS, 10), await store(NOW_MS - HOUR_MS, 10)];
    expect(await known([...before, ...after])).toBe(CAPACITY);
  });

  it('knows it among what the same hour held the first time, whatever the bridge of then stored between the end and now', async () => {
    const { store, known } = await bridge();
    await store(NOW_MS - HOUR_MS, 600, 'accepted', 100);
    await store(NOW_MS, 50);
    expect(await known(await store(NOW_MS - HOUR_MS + 10_000, CAPACITY, 'accepted', 100))).toBe(CAPACITY);
  });

  it('knows the rejections of after a step back', async () => {
    const { store, known } = await bridge();
    await store(NOW_MS + HOUR_MS, 100, 'rejected');
    expect(await known(await store(NOW_MS, CAPACITY, 'rejected'))).toBe(CAPACITY);
  });

  it('does not take rejections that were replayed or discarded lately for what was stored last, and still knows the last of them', async () => {
    const { store, known } = await bridge();
    await store(NOW_MS, 100, 'rejected');
    const last = [...(await store(NOW_MS + 200, 5, 'rejected')), ...(await store(NOW_MS + 300, CAPACITY - 5))];
    await connection.dataSource.query(`UPDATE rejected_messages SET status = 'discarded'`);
    expect(await known(last)).toBe(CAPACITY);
  });

  it('knows rejections by topics that are too long to be remembered whole', async () => {
    const { store, known } = await bridge();
    expect(await known(await store(NOW_MS, CAPACITY, 'rejected', 1, `veep/${'ü'.repeat(30_000)}/s/d/data`))).toBe(CAPACITY);
  });

  it('knows what was stored after a step forward', async () => {
    const { store, known } = await bridge();
    await store(NOW_MS, 100);
    const [before, after] = [await store(NOW_MS + 100, 10), await store(NOW_MS + HOUR_MS, 10)];
    expect(await known([...before, ...after])).toBe(CAPACITY);
  });
});
