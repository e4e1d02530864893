import { rootOf } from '@tallystick/hashing';
import { createDataSource, DatabaseConnection } from '@tallystick/persistence';
import { createTestDatabase, until } from '@tallystick/testing';
import { message as messageOf, packet as packetOf } from '../../test/messages.js';
import { type CommitPlan, planCommit } from '../batching/commit-plan.js';
import type { OpenBatch } from '../batching/open-batch.js';
import { IngestBridgeConfig } from '../ingest-bridge.config.js';
import { nativeSha256, rejection, type Rejection, type TelemetryMessage } from '../intake/telemetry-message.js';
import { BatchTakenError, commitFailure } from './commit-error.js';
import { TelemetryRepository } from './telemetry.repository.js';
import { Receiver } from '../slots/receiver.js';

const DAY_MS = 24 * 3600 * 1000;
const TODAY_MS = Math.floor(Date.now() / DAY_MS) * DAY_MS;

let batches = 0;
function plan(
  messages: TelemetryMessage[],
  open: ReadonlyMap<string, OpenBatch> = new Map(),
  rejections: Rejection[] = [],
  sealAll = false,
): CommitPlan {
  const rules = { batchSize: 4, batchBytes: 1e9, batchTimeoutMs: 60_000, mostOpenBatches: 100 };
  const newBatchId = () => `00000000-0000-7000-8000-${String(++batches).padStart(12, '0')}`;
  return planCommit({ open, messages, rejections, rules, nowMs: 0, newBatchId, sealAll });
}

const packet = (tenantId: string, payload: string, receivedAtMs = TODAY_MS + 1000) => packetOf(tenantId, payload, { receivedAtMs });
const message = (tenantId: string, payload?: string, receivedAtMs = TODAY_MS + 1000) => messageOf(tenantId, payload, { receivedAtMs });
const keyed = (tenantId: string, deduplicationKey: string, deviceId = 'd') =>
  messageOf(tenantId, '{}', { receivedAtMs: TODAY_MS + 1000, deduplicationKey }, deviceId);

describe('TelemetryRepository', () => {
  let connection: DatabaseConnection;
  let repository: TelemetryRepository;
  const sql = (text: string, values?: unknown[]): Promise<Record<string, unknown>[]> => connection.dataSource.query(text, values);
  const repositoryOf = (clientId: string) => new TelemetryRepository(connection, new IngestBridgeConfig(), new Receiver(clientId));
  const failureOf = (commit: Promise<void>) => commit.then(() => 'stored', commitFailure);
  const batchRow = async (batchId: string) => (await sql('SELECT * FROM batches WHERE batch_id = $1', [batchId]))[0]!;

  beforeAll(async () => {
    connection = new DatabaseConnection(createDataSource((await createTestDatabase()).url), { allowDataLoss: true });
    await connection.connect();
    repository = repositoryOf('bridge-a');
    await repository.ensurePartitions(TODAY_MS, TODAY_MS);
    await repository.beginEpoch();
  });
  afterAll(() => connection.close());

  it('while pending, open_root describes exactly the rows; from sealing on, batch_hash and leaf_hashes do', async () => {
    const first = plan([message('a'), message('a')]);
    await repository.commit(first);
    const { batchId } = first.messages[0]!;
    const initial = await batchRow(batchId);
    expect(initial).toMatchObject({ status: 'pending', message_count: 2, receiver: 'bridge-a', leaf_hashes: null, sealed_at: null });

    const second = plan([message('a')], first.openAfter);
    await repository.commit(second);
    const leaves = [...first.messages, ...second.messages].map((planned) => planned.message.leafHash);
    expect(await batchRow(batchId)).toMatchObject({
      message_count: 3,
      batch_hash: initial.batch_hash,
      open_root: Buffer.from(rootOf(leaves, nativeSha256)),
    });

    const third = plan([message('a')], second.openAfter);
    await repository.commit(third);
    const all = [...leaves, third.messages[0]!.message.leafHash];
    expect(await batchRow(batchId)).toMatchObject({
      status: 'complete',
      close_reason: 'size',
      message_count: 4,
      batch_hash: Buffer.from(rootOf(all, nativeSha256)).toString('hex'),
      leaf_hashes: Buffer.concat(all),
      sealed_at: expect.any(Date),
    });
    const rows = await sql('SELECT leaf_index FROM messages WHERE batch_id = $1 ORDER BY leaf_index', [batchId]);
    expect(rows.map((row) => row.leaf_index)).toEqual([0, 1, 2, 3]);
  });

  it('counts messages per device and keeps the quarantine, in the same transaction', async () => {
    const refused = rejection(packet('b', '{nope'), { reason: 'not_json', detail: 'x', tenantId: 'b' });
    await repository.commit(plan([message('b'), message('b')], undefined, [refused]));
    await repository.commit(plan([message('b')]));
    expect(await sql(`SELECT message_count, last_seen FROM devices WHERE tenant_id = 'b'`)).toEqual([
      { message_count: '3', last_seen: new Date(TODAY_MS + 1000) },
    ]);
    expect(await sql(`SELECT reason, payload FROM rejected_messages`)).toEqual([{ reason: 'not_json', payload: Buffer.from('{nope') }]);
  });

  it('writes a commit over midnight into two partitions, and says when one is missing', async () => {
    const overMidnight = plan([message('c', '1', TODAY_MS + DAY_MS - 1), message('c', '2', TODAY_MS + DAY_MS)]);
    const error: unknown = await repository.commit(overMidnight).catch((caught: unknown) => caught);
    expect(commitFailure(error)).toBe('partition_missing');
    expect(await repository.hasLanded(overMidnight)).toBe(false);
    await repository.ensurePartitions(TODAY_MS, TODAY_MS + DAY_MS);
    await repository.commit(overMidnight);
    expect(await repository.hasLanded(overMidnight)).toBe(true);
    const rows = await sql(`SELECT tableoid::regclass::text AS partition FROM messages WHERE tenant_id = 'c'`);
    expect(new Set(rows.map((row) => row.partition)).size).toBe(2);
  });

  it('stores nothing of a plan whose batch was taken by another', async () => {
    const first = plan([message('d')]);
    await repository.commit(first);
    const { batchId } = first.messages[0]!;
    await sql(
      `UPDATE batches SET status = 'complete', close_reason = 'recovery', sealed_at = now(), leaf_hashes = '\\x' WHERE batch_id = $1`,
      [batchId],
    );
    const late = plan([message('d'), message('e')], first.openAfter);
    await expect(repository.commit(late)).rejects.toEqual(new BatchTakenError([batchId]));
    expect(await repository.hasLanded(late)).toBe(false);
    expect(await sql(`SELECT FROM messages WHERE tenant_id = 'e'`)).toEqual([]);
    expect(await sql(`SELECT message_count FROM devices WHERE tenant_id = 'd'`)).toEqual([{ message_count: '1' }]);
  });

  it('refuses the same plan a second time, and tells that it has landed', async () => {
    const again = plan([message('f')]);
    await repository.commit(again);
    expect(commitFailure(await repository.commit(again).catch((caught: unknown) => caught))).toBe('already_there');
    expect(await repository.hasLanded(again)).toBe(true);

    const sealing = plan([], again.openAfter, [], true);
    expect(await repository.hasLanded(sealing)).toBe(false);
    await repository.commit(sealing);
    expect(await repository.hasLanded(sealing)).toBe(true);
    await expect(repository.commit(sealing)).rejects.toThrow(BatchTakenError);
  });

  it('finds its way when a device that it remembers was deleted', async () => {
    await repository.commit(plan([message('g')]));
    await sql(`DELETE FROM messages WHERE tenant_id = 'g'`);
    await sql(`DELETE FROM devices WHERE tenant_id = 'g'`);
    const orphan = plan([message('g')]);
    expect(commitFailure(await repository.commit(orphan).catch((caught: unknown) => caught))).toBe('reference_missing');
    repository.forgetDevices();
    await repository.commit(orphan);
  });

  it('knows retained messages that are stored already, by topic and payload, quarantined ones too', async () => {
    const stored = message('h', '{"retained":1}');
    const refused = rejection(packet('h', '{nope'), { reason: 'not_json', detail: 'x', tenantId: 'h' });
    await repository.commit(plan([stored], undefined, [refused]));
    const again = message('h', '{"retained":1}');
    const refusedAgain = rejection(packet('h', '{nope'), { reason: 'not_json', detail: 'x', tenantId: 'h' });
    const elsewhere = message('i', '{"retained":1}');
    const changed = message('h', '{"retained":2}');
    expect(await repository.findStored([again, refusedAgain, elsewhere, changed])).toEqual(new Set([again, refusedAgain]));
  });

  describe('with deduplication keys', () => {
    it.each([
      ['COMMIT', 'key_taken', 0],
      ['ROLLBACK', 'stored', 2],
    ])('waits for the transaction of another bridge that has one of them; after its %s: %s', async (end, outcome, stored) => {
      const tenant = `keys-${end}`;
      const [contested, own] = [keyed(tenant, 'contested'), keyed(tenant, 'own')];
      const other = connection.dataSource.createQueryRunner();
      await other.startTransaction();
      await other.query(`INSERT INTO deduplication_keys (key_hash) VALUES (decode($1, 'hex'))`, [contested.keyHash]);
      const committing = plan([own, contested]);
      const commit = failureOf(repository.commit(committing));
      const waiting = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'INSERT INTO deduplication_keys%'`;
      await until(async () => (await sql(waiting)).length === 1);
      // What is not committed is not stored: admission would let it in, and the commit decides.
      expect(await repository.findStoredKeys([contested.keyHash!])).toEqual(new Set());
      await other.query(end);
      await other.release();
      expect(await commit).toBe(outcome);
      expect(await repository.hasLanded(committing)).toBe(outcome === 'stored');
      expect(await sql(`SELECT FROM messages WHERE tenant_id = $1`, [tenant])).toHaveLength(stored);
      expect(await repository.findStoredKeys([own.keyHash!])).toEqual(new Set(stored === 0 ? [] : [own.keyHash]));
    });

    it('never deadlocks with another bridge that gets the same messages in another order: one commit wins', async () => {
      // Slow enough that all of them are half-way at the same time.
      await sql(`CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.005); RETURN NEW; END $$`);
      await sql(`CREATE TRIGGER slowly BEFORE INSERT ON deduplication_keys FOR EACH ROW EXECUTE FUNCTION slowly()`);
      const bridges = [repositoryOf('bridge-x'), repositoryOf('bridge-y'), repositoryOf('bridge-z')];
      for (const bridge of bridges) await bridge.beginEpoch();
      for (let round = 0; round < 5; round++) {
        const inOrder = Array.from({ length: 20 }, (_, i) => i);
        const orders = [inOrder, inOrder.toReversed(), [...inOrder.slice(10), ...inOrder.slice(0, 10)]];
        const received = orders.map((order) => order.map((i) => keyed('deadlock', `${round}-${i}`, `d${i % 7}`)));
        const outcomes = await Promise.all(bridges.map((bridge, i) => failureOf(bridge.commit(plan(received[i]!)))));
        expect(outcomes.sort()).toEqual(['key_taken', 'key_taken', 'stored']);
      }
      await sql(`DROP FUNCTION slowly() CASCADE`);
      expect(await sql(`SELECT count(*)::int AS stored FROM messages WHERE tenant_id = 'deadlock'`)).toEqual([{ stored: 100 }]);
      expect(await sql(`SELECT sum(message_count)::int AS counted FROM devices WHERE tenant_id = 'deadlock'`)).toEqual([{ counted: 100 }]);
    });

    it('refuses the same plan a second time for its own keys, and tells that it has landed', async () => {
      const again = plan([keyed('again', 'k')]);
      await repository.commit(again);
      expect(await failureOf(repository.commit(again))).toBe('key_taken');
      expect(await repository.hasLanded(again)).toBe(true);
    });

    it('keeps those of rejections, of whatever topic, and tells devices apart', async () => {
      const delivery = { topic: `veep/${'ü\0'.repeat(10_000)}`, deduplicationKey: 'k\0'.repeat(10_000) };
      const refused = rejection(packetOf('t', '{nope', delivery), { reason: 'topic_mismatch', detail: 'x', tenantId: null });
      const [one, another] = [keyed('apart-1', 'k'), keyed('apart-2', 'k')];
      await repository.commit(plan([one], undefined, [refused]));
      const stored = await repository.findStoredKeys([one, another, refused].map(({ keyHash }) => keyHash!));
      expect(stored).toEqual(new Set([one.keyHash, refused.keyHash]));
    });

    it('forgets the old ones, so many at a time and the oldest first, and leaves alone what is locked', async () => {
      await sql(`DELETE FROM deduplication_keys`);
      const ages = ['1 hour', '71 hours', '73 hours', '74 hours', '75 hours', '1 year'];
      for (const age of ages) {
        await sql(`INSERT INTO deduplication_keys VALUES (sha256($1::bytea), now() - $2::interval)`, [Buffer.from(age), age]);
      }
      const left = async () => {
        const rows = await sql(
          `SELECT round(extract(epoch FROM now() - stored_at) / 3600)::int AS hours FROM deduplication_keys ORDER BY 1`,
        );
        return rows.map(({ hours }) => hours);
      };
      expect(await repository.forgetKeys(72, 1)).toBe(1);
      expect(await left()).toEqual([1, 71, 73, 74, 75]);
      const other = connection.dataSource.createQueryRunner();
      await other.startTransaction();
      await other.query(`SELECT FROM deduplication_keys WHERE key_hash = sha256('74 hours') FOR UPDATE`);
      expect(await repository.forgetKeys(72, 100)).toBe(2);
      await other.rollbackTransaction();
      await other.release();
      expect(await left()).toEqual([1, 71, 74]);
      expect(await repository.forgetKeys(72, 100)).toBe(1);
      expect(await repository.forgetKeys(72, 100)).toBe(0);
      await expect(repository.forgetKeys(0, 100)).rejects.toThrow(/too few/);
      expect(await left()).toEqual([1, 71]);
    });
  });

  it('tells new devices from those that have a row', async () => {
    await repository.commit(plan([message('j')]));
    repository.forgetDevices();
    expect(await repository.findNewDevices([message('j'), message('k'), message('k')])).toEqual(new Set(['k\0d']));
  });

  it('refuses the commits of a process whose place was taken, and waits for one under way', async () => {
    const late = plan([message('l')]);
    const other = repositoryOf('bridge-a');
    const blocker = connection.dataSource.createQueryRunner();
    await blocker.startTransaction();
    await blocker.query(`LOCK TABLE rejected_messages IN ACCESS EXCLUSIVE MODE`);
    const refused = rejection(packet('l', '{nope'), { reason: 'not_json', detail: 'x', tenantId: 'l' });
    const underWay = repository.commit(plan([message('l')], undefined, [refused]));
    await new Promise((resolve) => setTimeout(resolve, 200));
    let begun = false;
    const beginning = other.beginEpoch().then(() => (begun = true));
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(begun).toBe(false);
    await blocker.rollbackTransaction();
    await blocker.release();
    await Promise.all([underWay, beginning]);
    expect(commitFailure(await repository.commit(late).catch((caught: unknown) => caught))).toBe('replaced');
    expect(await sql(`SELECT count(*)::int AS stored FROM messages WHERE tenant_id = 'l'`)).toEqual([{ stored: 1 }]);
  });

  it('waits for no lock for ever, and leaves nothing in the server that does', async () => {
    const stuck = connection.dataSource.createQueryRunner();
    await stuck.startTransaction();
    await stuck.query(`SELECT pg_advisory_xact_lock_shared(hashtextextended('tallystick.receiver.bridge-stuck', 0))`);
    await stuck.query(`LOCK TABLE batches IN SHARE UPDATE EXCLUSIVE MODE`); // as VACUUM takes it
    const bridge = repositoryOf('bridge-stuck');
    const failures = await Promise.all(
      [bridge.beginEpoch(), bridge.ensurePartitions(TODAY_MS + 9 * DAY_MS, TODAY_MS + 9 * DAY_MS)].map((asked) =>
        asked.catch(commitFailure),
      ),
    );
    expect(failures).toEqual(['passing', 'passing']);
    expect(await sql(`SELECT query FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)).toEqual([]);
    await stuck.rollbackTransaction();
    await stuck.release();
    await bridge.beginEpoch();
    expect(await bridge.ensurePartitions(TODAY_MS + 9 * DAY_MS, TODAY_MS + 9 * DAY_MS)).toHaveLength(1);
  });

  it('has the server look soon whether we are still there, also in the middle of COPY', async () => {
    await sql(`CREATE TABLE seen (setting text)`);
    await sql(`CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO seen SELECT current_setting('tcp_keepalives_' || name) FROM unnest(ARRAY['idle', 'interval', 'count']) AS name; RETURN NEW; END $$`);
    await sql(`CREATE TRIGGER look BEFORE INSERT ON batches FOR EACH ROW EXECUTE FUNCTION look()`);
    const bridge = repositoryOf('bridge-seen');
    await bridge.beginEpoch();
    await bridge.commit(plan([message('seen')]));
    await sql(`DROP FUNCTION look() CASCADE`);
    expect(await sql(`SELECT setting FROM seen`)).toEqual(['5', '5', '2'].map((setting) => ({ setting })));
  });

  describe('and replays', () => {
    let tenants = 0;
    // Above, another process took its place.
    beforeAll(() => repository.beginEpoch());
    const rowsOf = (tenantId: string) =>
      sql(
        `SELECT status, reason, detail, resolved_at IS NOT NULL AS resolved, replayed_as IS NOT DISTINCT FROM m.message_id AS linked
         FROM rejected_messages r LEFT JOIN messages m USING (tenant_id) WHERE tenant_id = $1`,
        [tenantId],
      );
    const stored = async (tenantId: string) => (await sql('SELECT FROM messages WHERE tenant_id = $1', [tenantId])).length;

    /** A stored rejection of a tenant of its own whose replay is requested; the plans that store it, and that refuse it once more. */
    async function requested() {
      const tenantId = `replay${++tenants}`;
      const refused = rejection(packet(tenantId, '{nope'), { reason: 'not_json', detail: 'x', tenantId });
      await repository.commit(plan([], undefined, [refused]));
      const { rejectionId } = refused;
      const setStatus = (status: string) => sql(`UPDATE rejected_messages SET status = $2 WHERE rejection_id = $1`, [rejectionId, status]);
      await setStatus('replay_requested');
      const storing = () => plan([{ ...message(tenantId), replayOf: rejectionId }]);
      const refusal = { reason: 'too_deep', detail: 'y', tenantId: null } as const;
      const refusing = () => plan([], undefined, [rejection(packet(tenantId, '{nope'), refusal, rejectionId)]);
      return { tenantId, rejectionId, setStatus, storing, refusing };
    }

    it('marks them in the transaction that stores them', async () => {
      const { tenantId, storing } = await requested();
      const replay = storing();
      expect(await repository.hasLanded(replay)).toBe(false);
      await repository.commit(replay);
      expect(await repository.hasLanded(replay)).toBe(true);
      expect(await rowsOf(tenantId)).toEqual([{ status: 'replayed', reason: 'not_json', detail: 'x', resolved: true, linked: true }]);
    });

    it('gives what is refused once more its new reason, in its row', async () => {
      const { tenantId, refusing } = await requested();
      const replay = refusing();
      expect(await repository.hasLanded(replay)).toBe(false);
      await repository.commit(replay);
      expect(await repository.hasLanded(replay)).toBe(true);
      expect(await rowsOf(tenantId)).toEqual([{ status: 'new', reason: 'too_deep', detail: 'y', resolved: false, linked: true }]);
    });

    it.each(['discarded', 'replayed', 'new', 'trimmed'])('stores nothing of a plan with one that is %s by now', async (status) => {
      const [one, other] = [await requested(), await requested()];
      const batch = [...one.storing().messages, ...other.storing().messages].map((planned) => planned.message);
      const both = plan([message('beside'), ...batch]);
      if (status === 'trimmed') await sql('DELETE FROM rejected_messages WHERE rejection_id = $1', [one.rejectionId]);
      else await one.setStatus(status);
      const error: unknown = await repository.commit(both).catch((caught: unknown) => caught);
      expect(error).toMatchObject({ code: 'REPLAY_TAKEN', rejectionIds: [one.rejectionId] });
      expect(commitFailure(error)).toBe('replay_taken');
      expect(await Promise.all([one.tenantId, other.tenantId, 'beside'].map(stored))).toEqual([0, 0, 0]);
      expect(await rowsOf(other.tenantId)).toMatchObject([{ status: 'replay_requested' }]);
    });

    it('gives it to one of many bridges that commit it at once', async () => {
      const { tenantId, storing } = await requested();
      const outcomes = await Promise.all(Array.from({ length: 8 }, () => failureOf(repository.commit(storing()))));
      expect(outcomes.sort()).toEqual([...Array<string>(7).fill('replay_taken'), 'stored']);
      expect(await stored(tenantId)).toBe(1);
      expect(await sql('SELECT message_count FROM devices WHERE tenant_id = $1', [tenantId])).toEqual([{ message_count: '1' }]);
    });

    it('does not let messages that come now wait for somebody who is deciding about it', async () => {
      const { rejectionId, storing, tenantId } = await requested();
      const decider = connection.dataSource.createQueryRunner();
      await decider.startTransaction();
      await decider.query(`UPDATE rejected_messages SET status = 'discarded' WHERE rejection_id = $1`, [rejectionId]);
      const startedAtMs = performance.now();
      expect(await failureOf(repository.commit(storing()))).toBe('replay_taken');
      expect(performance.now() - startedAtMs).toBeLessThan(5_000);
      await decider.rollbackTransaction();
      await decider.release();
      // It was only thought about: the next look finds it requested.
      await repository.commit(storing());
      expect(await rowsOf(tenantId)).toMatchObject([{ status: 'replayed', linked: true }]);
    });

    it('lets a discard that comes while it is stored wait, and lose', async () => {
      const { rejectionId, storing, tenantId } = await requested();
      await sql(`CREATE FUNCTION delay_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER delay_commit AFTER UPDATE ON rejected_messages DEFERRABLE INITIALLY DEFERRED
          FOR EACH ROW WHEN (NEW.status = 'replayed') EXECUTE FUNCTION delay_commit()`);
      const storingIt = repository.commit(storing());
      const asleep = `SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()`;
      await until(async () => (await sql(asleep)).length === 1, { intervalMs: 10 });
      const discarded = await sql(
        `UPDATE rejected_messages SET status = 'discarded' WHERE rejection_id = $1 AND status IN ('new', 'replay_requested') RETURNING 1`,
        [rejectionId],
      );
      await storingIt;
      expect(discarded).toEqual([[], 0]);
      expect(await rowsOf(tenantId)).toMatchObject([{ status: 'replayed', linked: true }]);
      await sql('DROP TRIGGER delay_commit ON rejected_messages; DROP FUNCTION delay_commit');
    });

    it('tells a tenant of one that had none', async () => {
      const { rejectionId, storing, tenantId } = await requested();
      await sql('UPDATE rejected_messages SET tenant_id = NULL WHERE rejection_id = $1', [rejectionId]);
      await repository.commit(storing());
      expect(await rowsOf(tenantId)).toMatchObject([{ status: 'replayed' }]);
    });
  });
});
