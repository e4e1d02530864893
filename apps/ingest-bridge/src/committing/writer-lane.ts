import { setTimeout as sleep } from 'node:timers/promises';
import { uuidv7 } from '@tallystick/persistence';
import { type BatchingRules, type CommitPlan, planCommit, sealingIsDue } from '../batching/commit-plan.js';
import type { OpenBatch } from '../batching/open-batch.js';
import type { Rejection, TelemetryMessage } from '../intake/telemetry-message.js';
import { BatchTakenError, type CommitFailure, commitFailure } from './commit-error.js';

/** Most rows of one transaction: beyond this a commit gains nothing more and only keeps acknowledgements waiting. */
const MOST_ROWS_PER_COMMIT = 2_000;
const MOST_BYTES_PER_COMMIT = 16 * 1024 * 1024;
const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 5_000;

/** What a lane needs of the repository. */
export interface PlanStore {
  commit(plan: CommitPlan): Promise<void>;
  hasLanded(plan: CommitPlan): Promise<boolean>;
  ensurePartitions(fromMs: number, toMs: number): Promise<unknown>;
  forgetDevices(): void;
}

export interface LaneEvents {
  /** The plan is stored: its messages may be acknowledged. */
  committed(plan: CommitPlan, durationMs: number): void;
  failed(error: Error, failure: CommitFailure | 'batch_taken', attempt: number): void;
}

/**
 * One writer: one transaction in flight, an open batch per tenant of its own. A commit starts as soon as the last one is done
 * and takes everything that has arrived ("group commit"): no timer decides, so a lone message waits for nobody and a flood
 * makes large commits.
 */
export class WriterLane {
  private messages: TelemetryMessage[] = [];
  private rejections: Rejection[] = [];
  private open: ReadonlyMap<string, OpenBatch> = new Map();
  private draining = false;
  private wake: (() => void) | undefined;
  /** Why the last commit failed; undefined while commits succeed. */
  problem: string | undefined;

  constructor(
    private readonly store: PlanStore,
    private readonly rules: BatchingRules,
    private readonly events: LaneEvents,
    private readonly monotonicMs: () => number = () => performance.now(),
  ) {}

  get queued(): number {
    return this.messages.length + this.rejections.length;
  }

  get openBatches(): number {
    return this.open.size;
  }

  take(message: TelemetryMessage): void {
    this.messages.push(message);
    this.wake?.();
  }

  quarantine(rejection: Rejection): void {
    this.rejections.push(rejection);
    this.wake?.();
  }

  /** Writes until `drain` has been called and everything is stored and sealed. Throws only what is a bug. */
  async run(): Promise<void> {
    for (;;) {
      await this.untilThereIsWork();
      if (this.draining && this.queued === 0 && this.open.size === 0) return;
      await this.commitNext();
    }
  }

  /** Stores what is queued, seals every open batch, then lets `run` end. */
  drain(): void {
    this.draining = true;
    this.wake?.();
  }

  private async commitNext(): Promise<void> {
    const messages = takeUpTo(this.messages, MOST_ROWS_PER_COMMIT, MOST_BYTES_PER_COMMIT);
    const rejections = takeUpTo(this.rejections, MOST_ROWS_PER_COMMIT, MOST_BYTES_PER_COMMIT);
    const sealAll = this.draining && this.queued === 0;
    for (;;) {
      const plan = planCommit({
        open: this.open,
        messages,
        rejections,
        rules: this.rules,
        nowMs: this.monotonicMs(),
        newBatchId: () => uuidv7(Date.now()),
        sealAll,
      });
      if (plan.messages.length + plan.rejections.length + plan.changes.length === 0) return;
      const taken = await this.commitUntilStored(plan);
      if (!taken) return;
      this.open = new Map([...this.open].filter(([, batch]) => !taken.batchIds.includes(batch.batchId)));
    }
  }

  /** Sends the same transaction until it is stored, or until a batch of it turns out to be another's. */
  private async commitUntilStored(plan: CommitPlan): Promise<BatchTakenError | undefined> {
    const startedAtMs = this.monotonicMs();
    let taken: BatchTakenError | undefined;
    for (let attempt = 1; ; attempt++) {
      try {
        // The outcome of a failed try may be unknown (a connection lost during COMMIT), so ask before sending it again.
        const landed = attempt > 1 && (await this.store.hasLanded(plan));
        if (taken && !landed) return taken;
        if (!landed) await this.store.commit(plan);
        this.adopt(plan, startedAtMs);
        return undefined;
      } catch (error) {
        if (error instanceof BatchTakenError) taken = error;
        const failure = taken ? 'batch_taken' : commitFailure(error);
        this.problem = (error as Error).message || failure;
        this.events.failed(error as Error, failure, attempt);
        await this.beforeRetry(failure, attempt, plan);
      }
    }
  }

  private adopt(plan: CommitPlan, startedAtMs: number): void {
    this.open = plan.openAfter;
    this.problem = undefined;
    this.events.committed(plan, this.monotonicMs() - startedAtMs);
  }

  private async beforeRetry(failure: CommitFailure | 'batch_taken', attempt: number, plan: CommitPlan): Promise<void> {
    if (failure === 'batch_taken' && attempt === 1) return;
    if (failure === 'reference_missing') this.store.forgetDevices();
    if (failure === 'partition_missing') {
      const times = plan.messages.map(({ message }) => message.receivedAtMs);
      await this.store.ensurePartitions(Math.min(...times), Math.max(...times)).catch((error: Error) => (this.problem = error.message));
      if (attempt === 1) return;
    }
    await sleep(Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempt - 1, 10)) * (0.5 + Math.random() / 2));
  }

  private async untilThereIsWork(): Promise<void> {
    while (this.queued === 0 && !this.draining && !sealingIsDue(this.open, this.rules, this.monotonicMs())) {
      const dueMs = Math.min(...[...this.open.values()].map((batch) => batch.openedAtMs + this.rules.batchTimeoutMs));
      await new Promise<void>((resolve) => {
        const timer = Number.isFinite(dueMs) ? setTimeout(resolve, Math.max(1, Math.ceil(dueMs - this.monotonicMs()))) : undefined;
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.wake = undefined;
    }
  }
}

/** Removes and returns the first items of a queue, at least one, up to a number of rows and of payload bytes. */
function takeUpTo<T extends { payload: Buffer }>(queue: T[], mostRows: number, mostBytes: number): T[] {
  let count = 0;
  for (let bytes = 0; count < queue.length && count < mostRows && (count === 0 || bytes < mostBytes); count++)
    bytes += queue[count]!.payload.length;
  return queue.splice(0, count);
}
