import { uuidv7 } from '@tallystick/persistence';
import type { Receipt } from '@tallystick/mqtt';
import { type BatchingRules, type CommitPlan, planCommit, sealingIsDue } from '../batching/commit-plan.js';
import type { OpenBatch } from '../batching/open-batch.js';
import type { Rejection, TelemetryMessage } from '../intake/telemetry-message.js';
import { type Admission, type Admitted } from './admission.js';
import { BatchTakenError, type CommitFailure, commitFailure, ReceiverReplacedError, ReplayTakenError } from './commit-error.js';
import type { LaneClock } from './lane-clock.js';
import { splitAfterRefusal } from './refused-rows.js';

/** Most rows of one transaction: beyond this a commit gains nothing more and only keeps acknowledgements waiting. */
const MOST_ROWS_PER_COMMIT = 2_000;
const MOST_BYTES_PER_COMMIT = 16 * 1024 * 1024;
const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 5_000;
const DAY_MS = 24 * 3600 * 1000;

/** The next try will fare better: no need to wait before it. */
const MENDED_AT_ONCE: readonly CommitFailure[] = ['batch_taken', 'key_taken', 'replay_taken', 'row_refused', 'partition_missing'];
/** The plan as it is will never be stored, unless it is already. */
const MAKES_PLAN_IMPOSSIBLE: readonly CommitFailure[] = ['batch_taken', 'key_taken', 'replay_taken'];

/** What a lane needs of the database. */
export interface PlanStore {
  /** The whole plan or nothing. */
  commit(plan: CommitPlan): Promise<void>;
  /** Whether a plan whose commit failed is stored after all. */
  hasLanded(plan: CommitPlan): Promise<boolean>;
  ensurePartitions(fromMs: number, toMs: number): Promise<unknown>;
  forgetDevices(): void;
}

export interface LaneEvents {
  /** The plan is stored: its messages may be acknowledged. */
  committed(plan: CommitPlan, durationMs: number): void;
  /** Stored before: may be acknowledged. */
  repeated(receipts: readonly (Receipt | undefined)[]): void;
  /** Another bridge stored these rejections, or somebody discarded them. */
  replaysTaken(rejectionIds: readonly string[]): void;
  failed(error: Error, failure: CommitFailure, attempt: number): void;
}

type Work = Pick<Admitted, 'messages' | 'rejections'>;

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
  private heldBytes = 0;
  /** Why the last commit failed; undefined while commits succeed. */
  problem: string | undefined;

  constructor(
    private readonly store: PlanStore,
    private readonly admission: Admission,
    private readonly rules: BatchingRules,
    private readonly events: LaneEvents,
    private readonly clock: LaneClock,
  ) {}

  get queued(): number {
    return this.messages.length + this.rejections.length;
  }

  /** Bytes of what is queued: payloads and topics. */
  get queuedBytes(): number {
    return this.heldBytes;
  }

  get openBatches(): number {
    return this.open.size;
  }

  take(message: TelemetryMessage): void {
    this.messages.push(message);
    this.heldBytes += sizeBytes(message);
    this.wake?.();
  }

  quarantine(rejection: Rejection): void {
    this.rejections.push(rejection);
    this.heldBytes += sizeBytes(rejection);
    this.wake?.();
  }

  /** Drops what is queued of connections before this one, and tells how many: the broker resumed the session and sends them again. */
  abandonBefore(connection: number): number {
    const before = this.queued;
    const stays = ({ receipt }: TelemetryMessage | Rejection) => !receipt || receipt.connection >= connection;
    this.messages = this.messages.filter(stays);
    this.rejections = this.rejections.filter(stays);
    this.heldBytes = [...this.messages, ...this.rejections].reduce((sum, item) => sum + sizeBytes(item), 0);
    return before - this.queued;
  }

  /** Writes until `drain` has been called and everything is stored and sealed. Throws ReceiverReplacedError, or what is a bug. */
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
    const messages = this.dequeue(this.messages);
    const rejections = this.dequeue(this.rejections);
    const sealAll = this.draining && this.queued === 0;
    const sifted = this.admission.sift(messages, rejections);
    const admitted = await this.admit(() => this.admission.check(sifted, this.clock.nowMs()));
    await this.commitAll(admitted, sealAll);
    // After the commit: what repeats a message of this very commit is stored only now.
    if (admitted.duplicates.length > 0) this.events.repeated(admitted.duplicates);
  }

  private async admit(ask: () => Promise<Admitted>): Promise<Admitted> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await ask();
      } catch (error) {
        this.fail(error as Error, commitFailure(error), attempt);
        await this.pause(attempt);
      }
    }
  }

  /**
   * Commits everything, in order: as one transaction; in parts when PostgreSQL refuses a row; without what another writer turns out
   * to have stored under the same deduplication key; without replays that another bridge or a discard was first with.
   */
  private async commitAll(work: Work, sealAll: boolean): Promise<void> {
    const outcome = await this.commitUntilDecided(work, sealAll);
    if (outcome === 'stored') return;
    if (commitFailure(outcome) === 'key_taken') {
      const { duplicates, ...rest } = await this.admit(() => this.admission.withoutStoredKeys({ ...work, duplicates: [] }));
      this.events.repeated(duplicates);
      return this.commitAll(rest, sealAll);
    }
    if (outcome instanceof ReplayTakenError) {
      const stays = ({ replayOf }: TelemetryMessage | Rejection) => replayOf === undefined || !outcome.rejectionIds.includes(replayOf);
      this.events.replaysTaken(outcome.rejectionIds);
      return this.commitAll({ messages: work.messages.filter(stays), rejections: work.rejections.filter(stays) }, sealAll);
    }
    // Parts fill batches like any commit; sealing waits for the last one.
    const parts = splitAfterRefusal(work, outcome);
    for (const [index, part] of parts.entries()) await this.commitAll(part, sealAll && index === parts.length - 1);
  }

  /** Plans and commits until the work is stored, or until it cannot be stored as it is (row_refused, key_taken, replay_taken): then the error. */
  private async commitUntilDecided(work: Work, sealAll: boolean): Promise<'stored' | Error> {
    for (;;) {
      const plan = planCommit({
        ...work,
        open: this.open,
        rules: this.rules,
        nowMs: this.clock.nowMs(),
        newBatchId: () => uuidv7(this.clock.unixMs()),
        sealAll,
      });
      if (plan.messages.length + plan.rejections.length + plan.replays.length + plan.changes.length === 0) {
        this.problem = undefined; // all of it was stored before, so no commit follows that would say so
        return 'stored';
      }
      const outcome = await this.send(plan);
      if (!(outcome instanceof BatchTakenError)) return outcome;
      this.open = new Map([...this.open].filter(([, batch]) => !outcome.batchIds.includes(batch.batchId)));
    }
  }

  /** Sends the same transaction until it is stored, or until its content turns out to be impossible. */
  private async send(plan: CommitPlan): Promise<'stored' | Error> {
    const startedAtMs = this.clock.nowMs();
    let impossible: Error | undefined;
    for (let attempt = 1; ; attempt++) {
      try {
        // The outcome of a failed try may be unknown (a connection lost during COMMIT), so ask before anything else.
        const landed = attempt > 1 && (await this.store.hasLanded(plan));
        if (impossible && !landed) return impossible;
        if (!landed) await this.store.commit(plan);
        this.open = plan.openAfter;
        this.problem = undefined;
        this.events.committed(plan, this.clock.nowMs() - startedAtMs);
        return 'stored';
      } catch (error) {
        const failure = commitFailure(error);
        if (MAKES_PLAN_IMPOSSIBLE.includes(failure) || (failure === 'row_refused' && canBeSplit(plan))) impossible = error as Error;
        this.fail(error as Error, failure, attempt);
        if (failure === 'replaced') throw new ReceiverReplacedError({ cause: error });
        await this.beforeRetry(failure, attempt, plan);
      }
    }
  }

  private fail(error: Error, failure: CommitFailure, attempt: number): void {
    this.problem = error.message || failure;
    this.events.failed(error, failure, attempt);
  }

  private async beforeRetry(failure: CommitFailure, attempt: number, plan: CommitPlan): Promise<void> {
    if (failure === 'reference_missing') this.store.forgetDevices();
    if (failure === 'partition_missing') {
      // Day by day: a clock that was set right in between may have left years between the first message and the last.
      const days = new Set(plan.messages.map(({ message }) => Math.floor(message.receivedAtMs / DAY_MS) * DAY_MS));
      for (const dayMs of days) await this.store.ensurePartitions(dayMs, dayMs).catch((error: Error) => (this.problem = error.message));
    }
    if (!MENDED_AT_ONCE.includes(failure) || attempt > 1) await this.pause(attempt);
  }

  private pause(attempt: number): Promise<void> {
    const longestMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempt - 1, 10));
    return this.clock.sleep(longestMs * (0.5 + this.clock.random() / 2));
  }

  private async untilThereIsWork(): Promise<void> {
    while (this.queued === 0 && !this.draining && !sealingIsDue(this.open, this.rules, this.clock.nowMs())) {
      const sleeping = new AbortController();
      const woken = new Promise<void>((resolve) => (this.wake = resolve));
      const oldest = Math.min(...[...this.open.values()].map((batch) => batch.openedAtMs));
      const dueInMs = Math.max(1, Math.ceil(oldest + this.rules.batchTimeoutMs - this.clock.nowMs()));
      await (Number.isFinite(dueInMs) ? Promise.race([woken, this.clock.sleep(dueInMs, sleeping.signal)]) : woken);
      sleeping.abort();
      this.wake = undefined;
    }
  }

  /** Removes and returns the first items of a queue, at least one, up to a number of rows and of bytes. */
  private dequeue<T extends TelemetryMessage | Rejection>(queue: T[]): T[] {
    let count = 0;
    let bytes = 0;
    while (count < queue.length && count < MOST_ROWS_PER_COMMIT && (count === 0 || bytes < MOST_BYTES_PER_COMMIT)) {
      bytes += sizeBytes(queue[count++]!);
    }
    this.heldBytes -= bytes;
    return queue.splice(0, count);
  }
}

/** The topic counts: one in quarantine may have 64 KiB. */
function sizeBytes({ payload, topic }: TelemetryMessage | Rejection): number {
  return payload.length + topic.length;
}

/** A refused plan of a single rejection has nothing left to take apart: it is tried again like an unknown failure. */
function canBeSplit({ messages, rejections, replays }: CommitPlan): boolean {
  return messages.length > 0 || rejections.length + replays.length > 1;
}
