import fc from 'fast-check';
import { rootOf } from '@tallystick/hashing';
import { nativeSha256, rejection, telemetryMessage, type TelemetryMessage } from '../intake/telemetry-message.js';
import { message, packet } from '../../test/messages.js';
import { type BatchingRules, type CommitPlan, planCommit, sealingIsDue } from './commit-plan.js';
import type { OpenBatch } from './open-batch.js';

const rules: BatchingRules = { batchSize: 5, batchBytes: 1000, batchTimeoutMs: 10_000, mostOpenBatches: 3 };

/** A lane without a database: every plan is committed. */
class Ledger {
  open: ReadonlyMap<string, OpenBatch> = new Map();
  private batches = 0;

  plan(messages: TelemetryMessage[], nowMs = 0, sealAll = false): CommitPlan {
    return planCommit({ open: this.open, messages, rejections: [], rules, nowMs, newBatchId: () => `batch-${++this.batches}`, sealAll });
  }

  commit(messages: TelemetryMessage[], nowMs = 0, sealAll = false): CommitPlan {
    const plan = this.plan(messages, nowMs, sealAll);
    this.open = plan.openAfter;
    return plan;
  }
}

const many = (count: number, tenantId = 'a') => Array.from({ length: count }, () => message(tenantId));

describe('planCommit', () => {
  it('has the deduplication keys of messages and rejections in order, whatever the order of receipt', () => {
    const keys = fc.uniqueArray(fc.string(), { maxLength: 20 });
    fc.assert(
      fc.property(keys, fc.nat(20), (received, refusedFrom) => {
        const packets = received.map((deduplicationKey) => packet('a', '1', { deduplicationKey }));
        const messages = [...packets.slice(0, refusedFrom).map((one) => telemetryMessage(one, message('a'))), message('a')];
        const refusal = { reason: 'not_json' as const, detail: 'x', tenantId: 'a' };
        const rejections = packets.slice(refusedFrom).map((one) => rejection(one, refusal));
        const { keyHashes } = planCommit({ open: new Map(), messages, rejections, rules, nowMs: 0, newBatchId: () => 'b', sealAll: false });
        expect(keyHashes).toEqual([...messages, ...rejections].flatMap(({ keyHash }) => keyHash ?? []).sort());
      }),
    );
  });

  it('fills a batch over several commits and seals it when it is full', () => {
    const ledger = new Ledger();
    expect(ledger.commit(many(3)).changes).toMatchObject([{ messagesBefore: 0, closeReason: undefined }]);
    const plan = ledger.commit(many(4));
    expect(
      plan.changes.map(({ batch, messagesBefore, closeReason }) => [batch.batchId, messagesBefore, batch.messageCount, closeReason]),
    ).toEqual([
      ['batch-1', 3, 5, 'size'],
      ['batch-2', 0, 2, undefined],
    ]);
    expect(plan.messages.map(({ batchId, leafIndex }) => `${batchId}/${leafIndex}`)).toEqual([
      'batch-1/3',
      'batch-1/4',
      'batch-2/0',
      'batch-2/1',
    ]);
  });

  it('seals several batches in one commit', () => {
    expect(new Ledger().commit(many(12)).changes.map((change) => change.closeReason)).toEqual(['size', 'size', undefined]);
  });

  it('keeps a batch for each tenant', () => {
    const plan = new Ledger().commit([message('a'), message('b'), message('a')]);
    expect(plan.changes.map(({ batch }) => [batch.tenantId, batch.messageCount])).toEqual([
      ['a', 2],
      ['b', 1],
    ]);
  });

  it('seals by bytes, by age without a new message, and at shutdown', () => {
    expect(new Ledger().commit([message('a', `"${'x'.repeat(1000)}"`)]).changes).toMatchObject([{ closeReason: 'bytes' }]);
    const ledger = new Ledger();
    ledger.commit(many(1), 0);
    expect(sealingIsDue(ledger.open, rules, 9_999)).toBe(false);
    expect(sealingIsDue(ledger.open, rules, 10_000)).toBe(true);
    expect(ledger.commit([], 10_000).changes).toMatchObject([{ messagesBefore: 1, closeReason: 'age' }]);
    ledger.commit(many(2), 20_000);
    expect(ledger.commit([], 20_001, true).changes).toMatchObject([{ messagesBefore: 2, closeReason: 'shutdown' }]);
    expect(ledger.commit([], 30_000).changes).toEqual([]);
  });

  it('seals the oldest batches when more tenants are open than may be', () => {
    const ledger = new Ledger();
    ledger.commit([message('a')], 1);
    const plan = ledger.commit([message('b'), message('c'), message('a'), message('d'), message('e')], 2);
    expect(
      plan.changes
        .filter((change) => change.closeReason === 'age')
        .map(({ batch }) => batch.tenantId)
        .sort(),
    ).toEqual(['a', 'b']);
    expect([...ledger.open.keys()]).toEqual(['c', 'd', 'e']);
  });

  it('changes nothing before it is adopted: the same plan can be made again after a rollback', () => {
    const ledger = new Ledger();
    ledger.commit(many(2));
    const messages = many(2);
    const [first, second] = [ledger.plan(messages), ledger.plan(messages)];
    expect(first.changes[0]!.batch.root()).toEqual(second.changes[0]!.batch.root());
    expect(second.messages.map((planned) => planned.leafIndex)).toEqual([2, 3]);
  });

  it('survives a clock that jumps back: start and end are extremes', () => {
    const plan = new Ledger().commit([message('a', '{}', { receivedAtMs: 5000 }), message('a', '{}', { receivedAtMs: 1000 })]);
    expect(plan.changes[0]!.batch).toMatchObject({ startMs: 1000, endMs: 5000 });
  });

  it('sums up devices in key order: the last site and firmware, the latest time', () => {
    const later = { ...message('a', '{}', { receivedAtMs: 9000 }, 'x'), siteId: 'moved', firmwareVersion: '2' };
    const plan = new Ledger().commit([
      message('b', '{}', {}, 'a'),
      { ...message('a', '{}', { receivedAtMs: 9500 }, 'x'), firmwareVersion: '1' },
      later,
    ]);
    expect(plan.devices).toEqual([
      { tenantId: 'a', deviceId: 'x', siteId: 'moved', messages: 2, lastSeenMs: 9500, firmwareVersion: '2' },
      { tenantId: 'b', deviceId: 'a', siteId: 's', messages: 1, lastSeenMs: 1_795_300_000_000, firmwareVersion: null },
    ]);
  });

  it('whatever arrives in whatever portions: every message has one place, and every root is that of the rows', () => {
    const portions = fc.array(fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 12 }), { maxLength: 12 });
    fc.assert(
      fc.property(portions, (tenants) => {
        const ledger = new Ledger();
        const rows = new Map<string, TelemetryMessage[]>();
        const sealed = new Set<string>();
        for (const portion of [...tenants, []]) {
          const plan = ledger.commit(
            portion.map((tenant) => message(tenant)),
            0,
            portion === tenants.at(-1),
          );
          for (const planned of plan.messages) {
            const batchRows = rows.get(planned.batchId) ?? [];
            expect(sealed.has(planned.batchId)).toBe(false);
            expect(planned.leafIndex).toBe(batchRows.length);
            rows.set(planned.batchId, [...batchRows, planned.message]);
          }
          for (const { batch, closeReason } of plan.changes) {
            const leaves = rows.get(batch.batchId)!.map((row) => row.leafHash);
            expect(Buffer.from(batch.root())).toEqual(Buffer.from(rootOf(leaves, nativeSha256)));
            expect(batch.joinedLeafHashes()).toEqual(Buffer.concat(leaves));
            if (closeReason) sealed.add(batch.batchId);
          }
        }
        expect([...rows.values()].flat()).toHaveLength(tenants.flat().length);
      }),
      { numRuns: 50 },
    );
  });
});
