import { AcknowledgementWindow, type Receipt, RedeliveryLedger } from '@tallystick/mqtt';
import type { BatchingRules, CommitPlan } from '../batching/commit-plan.js';
import { message as messageOf, packet } from '../../test/messages.js';
import { type Rejection, rejection, type TelemetryMessage } from '../intake/telemetry-message.js';
import { BatchTakenError, ReplayTakenError } from './commit-error.js';
import { Admission } from './admission.js';
import { SYSTEM_CLOCK } from './lane-clock.js';
import { type LaneEvents, type PlanStore, WriterLane } from './writer-lane.js';
import { DeviceAllowance } from '../devices/device-allowance.js';

const rules: BatchingRules = { batchSize: 10, batchBytes: 1e9, batchTimeoutMs: 60_000, mostOpenBatches: 100 };

const DAY_MS = 24 * 3600 * 1000;
const message = (payload: string) => messageOf('t', payload);
const pgError = (code: string, constraint?: string) => Object.assign(new Error(`refused with ${code}`), { code, constraint });
const keyTaken = pgError('23505', 'deduplication_keys_pkey');

/** A fake of the database: it keeps what was committed, and fails as the script says, before or after it kept it. */
class ScriptedStore implements PlanStore {
  readonly stored: string[] = [];
  readonly landed = new Set<CommitPlan>();
  readonly calls: string[] = [];
  readonly partitions = new Set<string>();
  /** Stored by others: by keyHash. */
  readonly keyHashes = new Set<string>();
  /** What happens between a call and its answer; throws when there is none. `which` counts the calls of this name, from 1. */
  meanwhile: (call: string, which: number) => void = () => undefined;
  constructor(private readonly script: { error: Error; persisted: boolean }[] = []) {}

  commit(plan: CommitPlan): Promise<void> {
    this.note('commit');
    const step = this.script.shift();
    if (!step || step.persisted) {
      this.landed.add(plan);
      this.stored.push(...plan.messages.map(({ message, leafIndex }) => `${leafIndex}:${message.payload.toString()}`));
    }
    return step ? Promise.reject(step.error) : Promise.resolve();
  }

  hasLanded(plan: CommitPlan): Promise<boolean> {
    this.note('hasLanded');
    return Promise.resolve(this.landed.has(plan));
  }

  findStoredKeys(keyHashes: readonly string[]): Promise<ReadonlySet<string>> {
    this.note('findStoredKeys');
    return Promise.resolve(new Set(keyHashes.filter((keyHash) => this.keyHashes.has(keyHash))));
  }

  /** Refuses a long span like the function of the schema. */
  ensurePartitions(fromMs: number, toMs: number): Promise<void> {
    this.calls.push('ensurePartitions');
    if (toMs - fromMs > 400 * DAY_MS) return Promise.reject(pgError('22023'));
    for (let ms = fromMs; ms <= toMs; ms += DAY_MS) this.partitions.add(new Date(ms).toISOString().slice(0, 10));
    return Promise.resolve();
  }

  forgetDevices(): void {
    this.calls.push('forgetDevices');
  }

  private note(call: string): void {
    this.calls.push(call);
    this.meanwhile(call, this.calls.filter((earlier) => earlier === call).length);
  }
}

function laneOn(store: ScriptedStore, events: Partial<LaneEvents> = {}): WriterLane {
  const queries = {
    findStoredKeys: (keyHashes: readonly string[]) => store.findStoredKeys(keyHashes),
    findStored: () => Promise.resolve(new Set<never>()),
    findNewDevices: () => Promise.resolve(new Set<string>()),
  };
  const admission = new Admission(queries, new RedeliveryLedger(100), new DeviceAllowance(100));
  const ignored: LaneEvents = {
    committed: () => undefined,
    repeated: () => undefined,
    replaysTaken: () => undefined,
    failed: () => undefined,
  };
  return new WriterLane(store, admission, rules, { ...ignored, ...events }, SYSTEM_CLOCK);
}

async function runToEnd(
  store: ScriptedStore,
  payloads: string[],
): Promise<{ committed: CommitPlan[]; failures: string[]; lane: WriterLane }> {
  const committed: CommitPlan[] = [];
  const failures: string[] = [];
  const lane = laneOn(store, {
    committed: (plan) => committed.push(plan),
    failed: (_error, failure) => failures.push(failure),
  });
  const running = lane.run();
  for (const payload of payloads) lane.take(message(payload));
  lane.drain();
  await running;
  return { committed, failures, lane };
}

const twelve = Array.from({ length: 12 }, (_, i) => `${i}`);
const inPlace = twelve.map((payload, i) => `${i % 10}:${payload}`);

describe('WriterLane', () => {
  it('stores everything in order and seals every batch before it ends', async () => {
    const store = new ScriptedStore();
    const { committed, lane } = await runToEnd(store, twelve);
    expect(store.stored).toEqual(inPlace);
    expect(committed.flatMap((plan) => plan.changes.map((change) => change.closeReason))).toEqual(['size', 'shutdown']);
    expect([lane.queued, lane.openBatches, lane.problem]).toEqual([0, 0, undefined]);
  });

  it.each([
    ['42P01', 'partition_missing', ['commit', 'ensurePartitions', 'hasLanded', 'commit']],
    ['23503', 'reference_missing', ['commit', 'forgetDevices', 'hasLanded', 'commit']],
    ['57P01', 'passing', ['commit', 'hasLanded', 'commit']],
    ['53100', 'passing', ['commit', 'hasLanded', 'commit']],
    ['40P01', 'passing', ['commit', 'hasLanded', 'commit']],
    ['ECONNRESET', 'passing', ['commit', 'hasLanded', 'commit']],
    ['XX000', 'unknown', ['commit', 'hasLanded', 'commit']],
  ])('sends the same transaction again after %s', async (code, failure, calls) => {
    const store = new ScriptedStore([{ error: pgError(code), persisted: false }]);
    const { failures } = await runToEnd(store, twelve);
    expect(failures).toEqual([failure]);
    expect(store.calls.slice(0, calls.length)).toEqual(calls);
    expect(store.stored).toEqual(inPlace);
  });

  it('makes the partitions of a commit in which the clock was set right, from a year that is long past', async () => {
    const store = new ScriptedStore([{ error: pgError('42P01'), persisted: false }]);
    const lane = laneOn(store);
    const running = lane.run();
    const times = ['2000-01-01T00:05Z', '2000-01-01T00:06Z', '2026-11-22T12:00Z'];
    for (const time of times) lane.take(messageOf('t', `"${time}"`, { receivedAtMs: Date.parse(time) }));
    lane.drain();
    await running;
    expect([...store.partitions]).toEqual(['2000-01-01', '2026-11-22']);
    expect(store.stored).toHaveLength(3);
  });

  it('does not store twice what had landed although its commit failed', async () => {
    const store = new ScriptedStore([{ error: pgError('08006'), persisted: true }]);
    const { committed } = await runToEnd(store, twelve);
    expect(store.stored).toEqual(inPlace);
    expect(committed.flatMap((plan) => plan.messages)).toHaveLength(12);
  });

  it('starts a new batch when its own was taken, and keeps the order', async () => {
    const store = new ScriptedStore();
    const lane = laneOn(store);
    const running = lane.run();
    lane.take(message('first'));
    await new Promise((resolve) => setTimeout(resolve, 20));
    const [batchId] = [...store.landed].flatMap((plan) => plan.changes.map((change) => change.batch.batchId));
    store['script'].push({ error: new BatchTakenError([batchId!]), persisted: false });
    lane.take(message('second'));
    lane.take(message('third'));
    lane.drain();
    await running;
    expect(store.stored).toEqual(['0:first', '0:second', '1:third']);
  });

  describe('when another writer has stored one of its messages under the same key', () => {
    const window = new AcknowledgementWindow(1);
    const keyed = (payload: string) => messageOf('t', payload, { deduplicationKey: payload, receipt: window.hold(window.size + 1) });
    const refused = (payload: string) => {
      const delivery = { deduplicationKey: payload, receipt: window.hold(window.size + 1) };
      return rejection(packet('t', payload, delivery), { reason: 'not_json', detail: 'x', tenantId: 't' });
    };

    /** Gives the lane its work as one commit, and tells what it did in order. */
    async function write(store: ScriptedStore, messages: TelemetryMessage[], rejections: Rejection[] = []) {
      const done: string[] = [];
      const repeated: (Receipt | undefined)[] = [];
      const lane = laneOn(store, {
        committed: () => done.push('committed'),
        repeated: (receipts) => (done.push('repeated'), repeated.push(...receipts)),
        failed: (_error, failure) => done.push(failure),
      });
      for (const one of messages) lane.take(one);
      for (const one of rejections) lane.quarantine(one);
      lane.drain();
      await lane.run();
      return { done, repeated, lane };
    }

    it('stores the rest in order, and acknowledges that one', async () => {
      const store = new ScriptedStore([{ error: keyTaken, persisted: false }]);
      const work = ['a', 'b', 'c'].map(keyed);
      // After admission has asked, before the commit.
      store.meanwhile = (call) => call === 'commit' && store.keyHashes.add(work[1]!.keyHash!);
      const { done, repeated } = await write(store, work);
      expect(store.calls).toEqual(['findStoredKeys', 'commit', 'hasLanded', 'findStoredKeys', 'commit']);
      expect(store.stored).toEqual(['0:a', '1:c']);
      expect(done).toEqual(['key_taken', 'repeated', 'committed']);
      expect(repeated).toEqual([work[1]!.receipt]);
    });

    it('takes it for its own when it was: a commit of unknown outcome that landed while it was sent again', async () => {
      const store = new ScriptedStore([
        { error: pgError('08006'), persisted: false },
        { error: keyTaken, persisted: true },
      ]);
      const { done, repeated } = await write(store, ['a', 'b'].map(keyed));
      expect(done).toEqual(['passing', 'key_taken', 'committed']);
      expect(store.stored).toEqual(['0:a', '1:b']);
      expect(repeated).toEqual([]);
    });

    it('looks for its own first, however often the answer fails to come', async () => {
      const store = new ScriptedStore([{ error: keyTaken, persisted: true }]);
      store.meanwhile = (call, which) => {
        if (call === 'hasLanded' && which === 1) throw pgError('08006');
      };
      const { done, repeated } = await write(store, [keyed('a')]);
      expect(done).toEqual(['key_taken', 'passing', 'committed']);
      expect([store.stored, repeated]).toEqual([['0:a'], []]);
    });

    it('has nothing to commit when all of it is stored, and no problem left', async () => {
      const store = new ScriptedStore();
      const [message, rejection] = [keyed('a'), refused('b')];
      for (const { keyHash } of [message, rejection]) store.keyHashes.add(keyHash!);
      store.meanwhile = (call, which) => {
        if (call === 'findStoredKeys' && which === 1) throw pgError('57P01');
      };
      const { done, repeated, lane } = await write(store, [message], [rejection]);
      expect(done).toEqual(['passing', 'repeated']);
      expect(repeated).toEqual([message.receipt, rejection.receipt]);
      expect([store.stored, lane.problem]).toEqual([[], undefined]);
    });

    it('also in the parts of a commit of which a row was refused', async () => {
      const store = new ScriptedStore([
        { error: pgError('22P02'), persisted: false }, // a to d
        { error: keyTaken, persisted: false }, // a and b
      ]);
      const work = ['a', 'b', 'c', 'd'].map(keyed);
      store.meanwhile = (call) => call === 'commit' && store.keyHashes.add(work[0]!.keyHash!);
      const { repeated } = await write(store, work);
      expect(store.stored).toEqual(['0:b', '1:c', '2:d']);
      expect(repeated).toEqual([work[0]!.receipt]);
    });
  });

  describe('when another bridge or a discard was first with a replay', () => {
    const replayed = (payload: string) => ({ ...message(payload), replayOf: payload });
    const refusedAgain = (payload: string) => rejection(packet('t', payload), { reason: 'not_json', detail: 'x', tenantId: 't' }, payload);

    async function write(store: ScriptedStore, messages: TelemetryMessage[], rejections: Rejection[] = []) {
      const [done, taken]: [string[], string[]] = [[], []];
      const lane = laneOn(store, {
        committed: ({ replays }) => done.push(`committed ${replays.map(({ rejectionId }) => rejectionId).join()}`),
        replaysTaken: (rejectionIds) => taken.push(...rejectionIds),
        failed: (_error, failure) => done.push(failure),
      });
      for (const one of messages) lane.take(one);
      for (const one of rejections) lane.quarantine(one);
      lane.drain();
      await lane.run();
      return { done, taken, lane };
    }

    it('stores the rest in order, without it', async () => {
      const store = new ScriptedStore([{ error: new ReplayTakenError(['b', 'e']), persisted: false }]);
      const { done, taken } = await write(
        store,
        [message('a'), replayed('b'), message('c'), replayed('d')],
        [refusedAgain('e'), refusedAgain('f')],
      );
      expect(store.calls).toEqual(['commit', 'hasLanded', 'commit']);
      expect(store.stored).toEqual(['0:a', '1:c', '2:d']);
      expect(done).toEqual(['replay_taken', 'committed d,f']);
      expect(taken).toEqual(['b', 'e']);
    });

    it('takes it for its own when it was: a commit of unknown outcome that landed', async () => {
      const store = new ScriptedStore([
        { error: pgError('08006'), persisted: false },
        { error: new ReplayTakenError(['b']), persisted: true },
      ]);
      const { done, taken } = await write(store, [message('a'), replayed('b')]);
      expect(done).toEqual(['passing', 'replay_taken', 'committed b']);
      expect([store.stored, taken]).toEqual([['0:a', '1:b'], []]);
    });

    it('has nothing to commit when it was all, and no problem left', async () => {
      const store = new ScriptedStore([{ error: new ReplayTakenError(['a', 'b']), persisted: false }]);
      const { done, taken, lane } = await write(store, [replayed('a')], [refusedAgain('b')]);
      expect([done, taken]).toEqual([['replay_taken'], ['a', 'b']]);
      expect([store.stored, lane.problem]).toEqual([[], undefined]);
    });

    it('finds the row that PostgreSQL refuses among replays, and refuses it once more', async () => {
      const poison = { error: pgError('22P02'), persisted: false };
      // All; the half of it; that one; that one without raw_data.
      const store = new ScriptedStore([poison, poison, poison, poison]);
      const { done } = await write(store, [replayed('a'), replayed('b'), replayed('c')]);
      expect(store.stored).toEqual(['0:b', '1:c']);
      expect(done.filter((what) => what.startsWith('committed'))).toEqual(['committed a', 'committed b', 'committed c']);
      const [plan] = [...store.landed];
      expect(plan!.replays).toMatchObject([{ rejectionId: 'a', messageId: null, reason: 'database_refused' }]);
      expect(plan!.rejections).toEqual([]);
    });
  });

  it('reports the problem while it lasts', async () => {
    const store = new ScriptedStore([{ error: pgError('53300'), persisted: false }]);
    const seen: (string | undefined)[] = [];
    const lane: WriterLane = laneOn(store, {
      committed: () => seen.push(lane.problem),
      failed: () => seen.push(lane.problem),
    });
    const running = lane.run();
    lane.take(message('x'));
    lane.drain();
    await running;
    expect(seen[0]).toBe('refused with 53300');
    expect(seen[1]).toBeUndefined();
  });
});
