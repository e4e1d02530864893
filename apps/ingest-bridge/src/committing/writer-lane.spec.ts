import type { BatchingRules, CommitPlan } from '../batching/commit-plan.js';
import { message as messageOf } from '../../test/messages.js';
import { BatchTakenError } from './commit-error.js';
import { Admission } from './admission.js';
import { SYSTEM_CLOCK } from './lane-clock.js';
import { type LaneEvents, type PlanStore, WriterLane } from './writer-lane.js';
import { RedeliveryLedger } from '@tallystick/mqtt';
import { DeviceAllowance } from '../devices/device-allowance.js';

const rules: BatchingRules = { batchSize: 10, batchBytes: 1e9, batchTimeoutMs: 60_000, mostOpenBatches: 100 };

const message = (payload: string) => messageOf('t', payload);
const pgError = (code: string) => Object.assign(new Error(`refused with ${code}`), { code });

/** A fake of the database: it keeps what was committed, and fails as the script says, before or after it kept it. */
class ScriptedStore implements PlanStore {
  readonly stored: string[] = [];
  readonly landed = new Set<CommitPlan>();
  readonly calls: string[] = [];
  constructor(private readonly script: { error: Error; persisted: boolean }[] = []) {}

  commit(plan: CommitPlan): Promise<void> {
    this.calls.push('commit');
    const step = this.script.shift();
    if (!step || step.persisted) {
      this.landed.add(plan);
      this.stored.push(...plan.messages.map(({ message, leafIndex }) => `${leafIndex}:${message.payload.toString()}`));
    }
    return step ? Promise.reject(step.error) : Promise.resolve();
  }

  hasLanded(plan: CommitPlan): Promise<boolean> {
    this.calls.push('hasLanded');
    return Promise.resolve(this.landed.has(plan));
  }

  ensurePartitions(): Promise<void> {
    this.calls.push('ensurePartitions');
    return Promise.resolve();
  }

  forgetDevices(): void {
    this.calls.push('forgetDevices');
  }
}

function laneOn(store: PlanStore, events: Partial<LaneEvents> = {}): WriterLane {
  const queries = { findStored: () => Promise.resolve(new Set<never>()), findNewDevices: () => Promise.resolve(new Set<string>()) };
  const admission = new Admission(queries, new RedeliveryLedger(100), new DeviceAllowance(100));
  const ignored: LaneEvents = { committed: () => undefined, repeated: () => undefined, failed: () => undefined };
  return new WriterLane(store, admission, rules, { ...ignored, ...events }, SYSTEM_CLOCK);
}

async function runToEnd(store: PlanStore, payloads: string[]): Promise<{ committed: CommitPlan[]; failures: string[]; lane: WriterLane }> {
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
