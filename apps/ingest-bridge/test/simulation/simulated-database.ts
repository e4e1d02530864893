import { rootOf } from '@tallystick/hashing';
import type { CommitPlan } from '../../src/batching/commit-plan.js';
import { BatchTakenError } from '../../src/committing/commit-error.js';
import type { PlanStore } from '../../src/committing/writer-lane.js';
import { keyHashOf, nativeSha256, type TelemetryMessage } from '../../src/intake/telemetry-message.js';
import type { Scheduler } from './scheduler.js';
import type { Published } from './simulated-broker.js';

export interface Row {
  message: TelemetryMessage;
  leafIndex: number;
}

interface BatchRow {
  status: 'pending' | 'complete';
  messageCount: number;
  root: Uint8Array;
  leafHashes: Buffer | undefined;
  rows: Row[];
}

/** A transaction whose client is gone: the server may still finish it. */
interface Orphan {
  plan: CommitPlan;
  epoch: number;
}

const failure = (code: string, constraint?: string) => Object.assign(new Error(`simulated ${code}`), { code, constraint });

/** The payloads that PostgreSQL refuses: this one with its searchable copy, the other one in any form. */
export const REFUSED_AS_JSON = '"refused as json"';
export const REFUSED_ALWAYS = '"refused always"';

/**
 * A fake of PostgreSQL that keeps what matters here: a transaction happens whole or not at all; its client may not learn which; it
 * may still happen after its client has gone; keys are unique; an update of a batch is guarded; an old epoch is refused.
 */
export class SimulatedDatabase {
  readonly batches = new Map<string, BatchRow>();
  /** All stored messages, in the order in which they were committed. */
  readonly messages: TelemetryMessage[] = [];
  readonly quarantined: { topic: string; payload: string; reason: string; keyHash: string | undefined }[] = [];
  /** Stored by another bridge, one of another client id. */
  readonly elsewhere: Published[] = [];
  readonly keyHashes = new Set<string>();
  readonly delivered: { packetId: number; topic: string; payloadHash: string }[] = [];
  private readonly rejectionIds = new Set<string>();
  private orphans: Orphan[] = [];
  private epoch = 0;
  /** While true every statement fails. */
  away = false;

  constructor(
    private readonly scheduler: Scheduler,
    private readonly failureRate: number,
  ) {}

  /** begin_receiver_epoch: waits for transactions under way, and refuses those that come later from before. */
  async beginEpoch(process: number): Promise<number> {
    await this.statement(process);
    for (const orphan of this.orphans.splice(0)) this.finishOrAbort(orphan);
    return ++this.epoch;
  }

  /** The store of one process. */
  storeOf(process: number, epoch: number): PlanStore {
    return {
      commit: (plan) => this.commit(process, epoch, plan),
      hasLanded: async (plan) => {
        await this.statement(process);
        return this.holds(plan);
      },
      ensurePartitions: () => this.statement(process),
      forgetDevices: () => undefined,
    };
  }

  async findStoredKeys(process: number, keyHashes: readonly string[]): Promise<ReadonlySet<string>> {
    await this.statement(process);
    return new Set(keyHashes.filter((keyHash) => this.keyHashes.has(keyHash)));
  }

  /** Another bridge gets a message too, and stores it unless it is stored. It waits for whoever is about to store it. */
  storeElsewhere(published: Published): void {
    const keyHash = keyHashOf(published.topic, published.key!);
    for (const orphan of this.orphans.filter(({ plan }) => plan.keyHashes.includes(keyHash))) this.finishOrAbort(this.forget(orphan));
    if (this.keyHashes.has(keyHash)) return;
    this.keyHashes.add(keyHash);
    this.elsewhere.push(published);
  }

  /** BatchRecovery.recoverOwn. */
  async recoverPending(process: number): Promise<void> {
    await this.statement(process);
    this.seal([...this.batches.values()]);
  }

  /** BatchRecovery.recoverAbandoned by another bridge, which takes one of ours for abandoned. */
  sweep(): void {
    const pending = [...this.batches.values()].filter((batch) => batch.status === 'pending');
    if (pending.length > 0) this.seal([pending[this.scheduler.below(pending.length)]!]);
  }

  private seal(batches: readonly BatchRow[]): void {
    for (const batch of batches) {
      if (batch.status !== 'pending') continue;
      const leafHashes = batch.rows.map((row) => row.message.leafHash);
      if (!Buffer.from(rootOf(leafHashes, nativeSha256)).equals(batch.root)) throw new Error('a pending batch does not have its root');
      Object.assign(batch, { status: 'complete', leafHashes: Buffer.concat(leafHashes) });
    }
  }

  private async commit(process: number, epoch: number, plan: CommitPlan): Promise<void> {
    const orphan = { plan, epoch };
    this.orphans.push(orphan); // until its outcome is known: a kill leaves it there
    await this.scheduler.later(process);
    if (!this.orphans.includes(orphan)) throw failure('57P01'); // a new epoch has dealt with it
    if (this.away || this.scheduler.chance(this.failureRate)) {
      // The connection breaks: before the transaction happened, after it, or while it is still under way.
      const [before, after] = [this.scheduler.chance(0.4), this.scheduler.chance(0.5)];
      if (before) this.forget(orphan);
      else if (after) this.finishOrAbort(this.forget(orphan));
      throw failure('08006');
    }
    // A statement that meets rows of an unfinished transaction waits for its end.
    for (const other of this.orphans.filter((candidate) => candidate !== orphan)) this.finishOrAbort(this.forget(other));
    this.apply(this.forget(orphan));
    await this.scheduler.later(process);
  }

  private apply({ plan, epoch }: Orphan): void {
    if (epoch !== this.epoch) throw failure('TS001');
    if (plan.keyHashes.some((keyHash) => this.keyHashes.has(keyHash))) throw failure('23505', 'deduplication_keys_pkey');
    const refused = plan.messages.find(({ message }) => isRefused(message));
    if (refused) throw failure('22P02');
    if (this.holds(plan)) throw failure('23505');
    const taken = plan.changes.filter(({ batch, messagesBefore }) => {
      const row = this.batches.get(batch.batchId);
      return messagesBefore > 0 && (row?.status !== 'pending' || row.messageCount !== messagesBefore);
    });
    if (taken.length > 0) throw new BatchTakenError(taken.map(({ batch }) => batch.batchId));
    this.write(plan);
  }

  private write(plan: CommitPlan): void {
    for (const { batch, closeReason } of plan.changes) {
      const rows = this.batches.get(batch.batchId)?.rows ?? [];
      for (const { message, batchId, leafIndex } of plan.messages) if (batchId === batch.batchId) rows.push({ message, leafIndex });
      this.batches.set(batch.batchId, {
        status: closeReason ? 'complete' : 'pending',
        messageCount: batch.messageCount,
        root: batch.root(),
        leafHashes: closeReason && batch.joinedLeafHashes(),
        rows,
      });
    }
    for (const keyHash of plan.keyHashes) this.keyHashes.add(keyHash);
    for (const { message } of plan.messages) {
      this.messages.push(message);
      this.remember(message, message.messageHash);
    }
    for (const rejection of plan.rejections) {
      this.rejectionIds.add(rejection.rejectionId);
      const { topic, payload, reason, keyHash } = rejection;
      this.quarantined.push({ topic, payload: payload.toString(), reason, keyHash });
      this.remember(rejection, rejection.payloadHash);
    }
  }

  private remember({ topic, receipt }: Pick<TelemetryMessage, 'topic' | 'receipt'>, payloadHash: string): void {
    if (receipt) this.delivered.push({ packetId: receipt.packetId, topic, payloadHash });
  }

  private holds({ messages, rejections, changes }: CommitPlan): boolean {
    if (messages[0]) return this.messages.some((stored) => stored.messageId === messages[0]!.message.messageId);
    if (rejections[0]) return this.rejectionIds.has(rejections[0].rejectionId);
    const row = this.batches.get(changes[0]!.batch.batchId);
    return row?.status === 'complete' && row.messageCount === changes[0]!.batch.messageCount;
  }

  private finishOrAbort(orphan: Orphan): void {
    if (this.scheduler.chance(0.5)) return;
    try {
      this.apply(orphan);
    } catch {
      // the server rolls it back; nobody is there to hear why
    }
  }

  private forget(orphan: Orphan): Orphan {
    this.orphans = this.orphans.filter((other) => other !== orphan);
    return orphan;
  }

  private async statement(process: number): Promise<void> {
    await this.scheduler.later(process);
    if (this.away || this.scheduler.chance(this.failureRate)) throw failure('08006');
  }
}

function isRefused({ payload, rawData }: TelemetryMessage): boolean {
  const text = payload.toString();
  return text === REFUSED_ALWAYS || (text === REFUSED_AS_JSON && rawData !== null);
}
