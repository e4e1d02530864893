import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable, Logger } from '@nestjs/common';
import { DeferredAckMqttServer, type Receipt, type RedeliveryLedger } from '@tallystick/mqtt';
import { Lifecycle } from '@tallystick/observability';
import { UnknownShapes } from '../log-lines/line-shape.js';
import { SeenLines } from '../diagnostics/seen-lines.js';
import type { Gap } from '../gaps/gap.js';
import { HeldBack } from '../gaps/held-back.js';
import { BrokerWatcherConfig } from '../broker-watcher.config.js';
import { WatcherMetrics } from '../watcher.metrics.js';
import { type CommitFailure, commitFailure, WatcherReplacedError } from './commit-error.js';
import { type HistoryPlan, isEmpty } from './history-plan.js';
import { HistoryRepository } from './history.repository.js';
import { type Item, LineReader, type Notice } from './line-reader.js';
import type { ReceivedLine } from './recorded-line.js';
import { StoredHistory } from './stored-history.js';

const MOST_ITEMS_PER_COMMIT = 2_000;
const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 5_000;

/**
 * Log lines into history: one transaction at a time, which takes everything that has arrived, events and what they change. A line
 * is acknowledged after the COMMIT of its event. A transaction that fails is tried again as it is until it is stored: what it
 * changes is already part of the history in memory, which a restart reads back from the database.
 */
@Injectable()
export class Recorder {
  private readonly logger = new Logger(Recorder.name);
  private queue: Item[] = [];
  private draining = false;
  private wake: (() => void) | undefined;
  private running: Promise<void> = Promise.resolve();
  private reader: LineReader | undefined;
  private ledger: RedeliveryLedger | undefined;
  private inFlight = 0;
  private readonly heldBack = new HeldBack();
  /** Lines that the broker sends without waiting for their acknowledgement. */
  windowLines: number;
  readonly unknownShapes = new UnknownShapes();
  readonly seen = new SeenLines();
  /** Why nothing is stored at the moment; undefined while commits succeed. */
  problem: string | undefined = 'not started yet';

  constructor(
    private readonly repository: HistoryRepository,
    private readonly stored: StoredHistory,
    private readonly server: DeferredAckMqttServer,
    private readonly metrics: WatcherMetrics,
    private readonly config: BrokerWatcherConfig,
    private readonly lifecycle: Lifecycle,
  ) {
    this.windowLines = config.maxUnacknowledged;
    server.onFatal = (error) => lifecycle.fail(error);
    metrics.watch({
      connected: () => Number(server.connected),
      unacknowledged: () => server.unacknowledged,
      inFlight: () => this.inFlight,
      openSessions: () => this.openSessions,
    });
  }

  get openSessions(): number {
    return this.reader?.history.book.size ?? 0;
  }

  /** Before the first connection to the broker. Takes the place of an earlier process and what it left. */
  async load(): Promise<void> {
    await this.repository.beginEpoch();
    this.ledger = await this.stored.loadLedger();
    this.reader = new LineReader(await this.stored.load(), this.config.mqtt.clientId);
  }

  start(): void {
    this.problem = undefined;
    this.running = this.run();
    // It survives every failure of the database; what it throws is a bug or a second watcher.
    this.running.catch((error: Error) => this.lifecycle.fail(error));
  }

  take(lines: readonly ReceivedLine[]): void {
    this.inFlight += lines.length;
    for (const line of lines) this.queue.push({ kind: 'line', line });
    this.noteWindow();
    this.wake?.();
  }

  /** The broker's count of messages that it threw away has risen. */
  brokerDropped(): void {
    this.tellGap(this.heldBack.noteDropped(Date.now()));
  }

  tell(notice: Notice): void {
    this.queue.push(notice);
    this.wake?.();
  }

  /**
   * The broker resumed the session and sends again what connections before this one left unacknowledged, unless it is too old by
   * now. Gives when the first line that is let go was received.
   */
  abandonBefore(connection: number): number | undefined {
    const goes = (item: Item) => item.kind === 'line' && item.line.receipt !== undefined && item.line.receipt.connection < connection;
    const abandoned = this.queue.flatMap((item) => (goes(item) && item.kind === 'line' ? [item.line] : []));
    this.queue = this.queue.filter((item) => !goes(item));
    this.inFlight -= abandoned.length;
    this.metrics.countLines('abandoned', abandoned.length);
    return abandoned[0]?.receivedAtMs;
  }

  /** Stores what has arrived, or as much as the time allows; the rest stays unacknowledged. */
  async drain(limitMs: number): Promise<void> {
    this.draining = true;
    this.wake?.();
    const late = new AbortController();
    await Promise.race([this.running, sleep(limitMs, undefined, { signal: late.signal }).catch(() => undefined)]);
    late.abort();
  }

  private async run(): Promise<void> {
    for (;;) {
      if (this.queue.length === 0 && this.draining) return;
      if (this.queue.length === 0) await new Promise<void>((resolve) => (this.wake = resolve));
      this.wake = undefined;
      await this.commitNext();
    }
  }

  private async commitNext(): Promise<void> {
    const { fresh, repeats } = this.sift(this.queue.splice(0, MOST_ITEMS_PER_COMMIT));
    const plan = this.reader!.read(fresh);
    if (!isEmpty(plan)) await this.send(plan);
    const lines = fresh.flatMap((item) => (item.kind === 'line' ? [item.line] : []));
    this.inFlight -= lines.length + repeats.length;
    // Here, after COMMIT, and nowhere else, lines are acknowledged.
    this.server.acknowledge([...lines.map(({ receipt }) => receipt), ...repeats]);
    // Before the next lines come: behind a gap the history is in doubt.
    this.noteWindow();
    this.metrics.countLines('duplicate', repeats.length);
    this.note(plan);
  }

  private noteWindow(): void {
    this.tellGap(this.heldBack.note(this.server.unacknowledged >= this.windowLines, Date.now()));
  }

  private tellGap(gap: Gap | undefined): void {
    if (gap) this.tell({ kind: 'gap', gap });
  }

  /** Sorts out what the broker delivers again and is stored; two equal lines of one second are two deliveries, and stay. */
  private sift(items: readonly Item[]): { fresh: Item[]; repeats: Receipt[] } {
    const repeats: Receipt[] = [];
    const fresh = items.filter((item) => {
      if (item.kind !== 'line' || !item.line.receipt) return true;
      const { receipt, rawHash } = item.line;
      const delivery = { packetId: receipt.packetId, topic: '', payloadHash: rawHash, connection: receipt.connection };
      if (receipt.mayRepeat && this.ledger!.takeRepeat(delivery)) return void repeats.push(receipt);
      this.ledger!.record(delivery);
      return true;
    });
    return { fresh, repeats };
  }

  private async send(plan: HistoryPlan): Promise<void> {
    const startMs = performance.now();
    for (let attempt = 1; ; attempt++) {
      try {
        if (plan.firstEventId === undefined) await this.repository.drawIds(plan);
        const landed = attempt > 1 && (await this.repository.hasLanded(plan));
        if (!landed) await this.repository.commit(plan);
        this.problem = undefined;
        return this.metrics.countCommit(plan, performance.now() - startMs);
      } catch (error) {
        await this.beforeRetry(error as Error, attempt, plan);
      }
    }
  }

  private async beforeRetry(error: Error, attempt: number, plan: HistoryPlan): Promise<void> {
    const failure: CommitFailure = commitFailure(error);
    this.problem = error.message || failure;
    this.metrics.countFailure(failure);
    if (failure === 'replaced') throw new WatcherReplacedError(REPLACED, { cause: error });
    // The first of a row of failures, then ever rarer.
    if ((attempt & (attempt - 1)) === 0) this.logger.warn('commit failed, trying again', { failure, attempt, reason: error.message });
    if (failure === 'partition_missing') {
      const times = plan.events.map(({ receivedAtMs }) => receivedAtMs);
      await this.repository.ensureDays(times).catch((cause: Error) => (this.problem = cause.message));
      if (attempt === 1) return;
    }
    await sleep(Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempt - 1, 10)) * (0.5 + Math.random() / 2));
  }

  private note({ events, gaps }: HistoryPlan): void {
    for (const gap of gaps) this.logger.warn('log lines are missing', { ...gap });
    for (const event of events) {
      this.seen.note(event);
      if (event.line.action !== 'unknown' || event.line.brokerRun) continue;
      if (this.unknownShapes.count(event.raw))
        this.logger.log('a kind of log line that is not understood', { line: event.raw.slice(0, 200) });
    }
  }
}

const REPLACED =
  'another process watches this broker under the same BROKER_NAME; give each watcher a name, and an MQTT_CLIENT_ID, of its own';
