import { AcknowledgementWindow, RedeliveryLedger } from '@tallystick/mqtt';
import { createDataSource, DatabaseConnection } from '@tallystick/persistence';
import { createTestDatabase, until } from '@tallystick/testing';
import pg from 'pg';
import { message, packet } from '../../test/messages.js';
import { type CommitPlan, planCommit } from '../batching/commit-plan.js';
import { DeviceAllowance } from '../devices/device-allowance.js';
import { IngestBridgeConfig } from '../ingest-bridge.config.js';
import { rejection } from '../intake/telemetry-message.js';
import { Admission } from './admission.js';
import { SYSTEM_CLOCK } from './lane-clock.js';
import { TelemetryRepository } from './telemetry.repository.js';
import { WriterLane } from './writer-lane.js';
import { Receiver } from '../slots/receiver.js';

/** Every statement of the transaction, by its text. */
const STEPS: [string, RegExp][] = [
  ['begin', /^BEGIN; .*assert_receiver_epoch/],
  ['deduplication keys', /^INSERT INTO deduplication_keys/],
  ['new devices', /^INSERT INTO devices \(/],
  ['new batches', /^INSERT INTO batches/],
  ['messages', /^COPY messages_/],
  ['batches that grow', /^UPDATE batches/],
  ['quarantine', /^INSERT INTO rejected_messages/],
  ['replays', /^WITH requested/],
  ['device counters', /^INSERT INTO devices AS/],
  ['commit', /^COMMIT/],
];

type Query = (this: pg.Client, ...args: unknown[]) => unknown;

/** Breaks the connection at the next statement of this kind: instead of sending it, or once the server has done it. */
function breakAt(step: RegExp, persisted: boolean): { happened: () => boolean; restore: () => void } {
  const { prototype } = pg.Client as unknown as { prototype: { query: Query } };
  const { query } = prototype;
  let happened = false;
  prototype.query = function (...args) {
    const statement = args[0] as string | { text: string };
    if (happened || !step.test(typeof statement === 'string' ? statement : statement.text)) return query.apply(this, args);
    happened = true;
    const cut = () => (this as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
    const lost = () => {
      cut();
      throw new Error('Connection terminated by the test');
    };
    const isCopy = step.test('COPY messages_');
    if (!isCopy) return persisted ? (query.apply(this, args) as Promise<unknown>).then(lost) : Promise.resolve().then(lost);
    const stream = query.apply(this, args) as NodeJS.EventEmitter;
    if (persisted) stream.once('finish', cut);
    else setImmediate(cut);
    return stream;
  };
  return { happened: () => happened, restore: () => (prototype.query = query) };
}

describe('a connection that breaks at a step of the transaction', () => {
  let connection: DatabaseConnection;
  let repository: TelemetryRepository;
  let cases = 0;
  const sql = (text: string, values?: unknown[]): Promise<Record<string, unknown>[]> => connection.dataSource.query(text, values);

  beforeAll(async () => {
    connection = new DatabaseConnection(createDataSource((await createTestDatabase()).url), { allowDataLoss: true });
    await connection.connect();
    repository = new TelemetryRepository(connection, new IngestBridgeConfig(), new Receiver('bridge'));
    await repository.ensurePartitions(Date.now(), Date.now());
    await repository.beginEpoch();
  });
  afterAll(() => connection.close());

  /** A lane that acknowledges into a window, and ways to send through it. */
  function lane() {
    const window = new AcknowledgementWindow(1);
    const replayed: string[] = [];
    const repeated: unknown[] = [];
    const taken: unknown[] = [];
    const committed = ({ messages, rejections, replays }: CommitPlan) => {
      for (const { receipt } of [...messages.map(({ message }) => message), ...rejections]) if (receipt) receipt.settled = true;
      replayed.push(...replays.map(({ rejectionId }) => rejectionId));
    };
    const admission = new Admission(repository, new RedeliveryLedger(100), new DeviceAllowance(1000));
    const rules = { batchSize: 100, batchBytes: 1e9, batchTimeoutMs: 60_000, mostOpenBatches: 100 };
    const writer = new WriterLane(
      repository,
      admission,
      rules,
      {
        committed,
        repeated: (receipts) => repeated.push(...receipts),
        replaysTaken: (rejectionIds) => taken.push(...rejectionIds),
        failed: () => undefined,
      },
      SYSTEM_CLOCK,
    );
    const delivery = (deduplicationKey: string) => ({ receivedAtMs: Date.now(), receipt: window.hold(window.size + 1), deduplicationKey });
    const send = (tenantId: string, payload: string) => writer.take(message(tenantId, payload, delivery(payload)));
    const refuse = (tenantId: string, payload: string) =>
      writer.quarantine(rejection(packet(tenantId, payload, delivery(payload)), { reason: 'not_json', detail: 'x', tenantId }));
    const allAcknowledged = () => until(() => (window.takeSettled(), window.size === 0));
    return { writer, send, refuse, allAcknowledged, repeated, taken, replayed };
  }

  /** A stored rejection whose replay is requested: its id. */
  async function requested(tenantId: string): Promise<string> {
    const refused = rejection(packet(tenantId, 'again'), { reason: 'not_json', detail: 'x', tenantId });
    const rules = { batchSize: 1, batchBytes: 1, batchTimeoutMs: 1, mostOpenBatches: 1 };
    const input = { open: new Map(), messages: [], rejections: [refused], rules, nowMs: 0, newBatchId: () => '', sealAll: false };
    await repository.commit(planCommit(input));
    await sql(`UPDATE rejected_messages SET status = 'replay_requested' WHERE rejection_id = $1`, [refused.rejectionId]);
    return refused.rejectionId;
  }

  const table = STEPS.flatMap(([name, step]) => [
    { name, step, outcome: 'not persisted', persisted: false },
    { name, step, outcome: 'persisted anyway', persisted: true },
  ]);
  it.each(table)('$name, $outcome: everything is there once', async ({ step, persisted }) => {
    const [known, fresh] = [`known${++cases}`, `fresh${cases}`];
    const { writer, send, refuse, allAcknowledged, repeated, taken, replayed } = lane();
    const [again, refusedAgain] = [await requested(`again${cases}`), await requested(`again${cases}`)];
    const running = writer.run();
    send(known, '"first"');
    await allAcknowledged();

    // One commit with work for every step: a batch that grows, a new device with a new batch, a quarantined message, two replays.
    const fault = breakAt(step, persisted);
    try {
      send(known, '"second"');
      send(fresh, '"third"');
      refuse(known, 'nope');
      writer.take({ ...message(`again${cases}`, 'again', { receivedAtMs: Date.now() }), replayOf: again });
      writer.quarantine(rejection(packet('x', 'again'), { reason: 'too_deep', detail: 'y', tenantId: null }, refusedAgain));
      await allAcknowledged();
    } finally {
      fault.restore();
    }
    expect(fault.happened()).toBe(true);
    writer.drain();
    await running;

    // Their own keys, found in the database, are never taken for another's.
    expect(repeated).toEqual([]);
    expect(await sql(`SELECT count(*)::int AS keys FROM deduplication_keys`)).toEqual([{ keys: 4 * cases }]);
    const both = [[known, fresh]];
    const stored = await sql(`SELECT payload, leaf_index FROM messages WHERE tenant_id = ANY($1) ORDER BY message_id`, both);
    expect(stored.map((row) => [String(row.payload), row.leaf_index])).toEqual([
      ['"first"', 0],
      ['"second"', 1],
      ['"third"', 0],
    ]);
    expect(await sql(`SELECT payload FROM rejected_messages WHERE tenant_id = ANY($1)`, both)).toEqual([{ payload: Buffer.from('nope') }]);
    expect([replayed, taken]).toEqual([[again, refusedAgain], []]);
    expect(
      await sql(
        `SELECT rejection_id, status, reason, (SELECT count(*)::int FROM messages m WHERE m.tenant_id = $1) AS stored,
           (SELECT payload FROM messages WHERE message_id = replayed_as) AS payload
         FROM rejected_messages WHERE tenant_id = $1 ORDER BY rejection_id`,
        [`again${cases}`],
      ),
    ).toEqual([
      { rejection_id: again, status: 'replayed', reason: 'not_json', stored: 1, payload: Buffer.from('again') },
      { rejection_id: refusedAgain, status: 'new', reason: 'too_deep', stored: 1, payload: null },
    ]);
    const counted = (table: string) =>
      sql(`SELECT tenant_id, message_count::int AS messages FROM ${table} WHERE tenant_id = ANY($1) ORDER BY 2 DESC`, both);
    const expected = [
      { tenant_id: known, messages: 2 },
      { tenant_id: fresh, messages: 1 },
    ];
    expect(await counted('devices')).toEqual(expected);
    expect(await counted(`(SELECT * FROM batches WHERE status = 'complete') sealed`)).toEqual(expected);
  });
});
