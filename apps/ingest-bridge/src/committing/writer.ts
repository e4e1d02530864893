import { Injectable, Logger } from '@nestjs/common';
import { DeferredAckMqttServer, type Receipt } from '@tallystick/mqtt';
import { Lifecycle } from '@tallystick/observability';
import { type CommitPlan, deviceKey } from '../batching/commit-plan.js';
import { DeviceAllowance } from '../devices/device-allowance.js';
import { IngestBridgeConfig } from '../ingest-bridge.config.js';
import { IngestMetrics } from '../ingest.metrics.js';
import type { Rejection, TelemetryMessage } from '../intake/telemetry-message.js';
import { Redeliveries } from '../recovery/redeliveries.js';
import { Admission } from './admission.js';
import { commitFailure, ReceiverReplacedError } from './commit-error.js';
import { SYSTEM_CLOCK } from './lane-clock.js';
import { TelemetryRepository } from './telemetry.repository.js';
import { WriterLane } from './writer-lane.js';

const MAX_BATCH_BYTES = 64 * 1024 * 1024;
/** Some kilobytes each, whatever their size. */
const MOST_OPEN_BATCHES = 10_000;
/** QoS 0 messages that wait are dropped beyond this. */
const MOST_UNPROMISED_BYTES = 16 * 1024 * 1024;

/** All lanes. A device always writes through the same lane, so that its messages stay in order. */
@Injectable()
export class Writer {
  private readonly logger = new Logger(Writer.name);
  private readonly lanes: WriterLane[];
  private running: Promise<unknown> = Promise.resolve();
  /** Received and not done with. */
  private inFlight = 0;
  /** Told of rejections once they are stored. */
  onQuarantined: (rejections: readonly Rejection[]) => void = () => undefined;
  /** Told of replays once nothing is left to do for them: stored, refused once more, or taken by another. */
  onReplaysDone: (rejectionIds: readonly string[], outcome: 'settled' | 'taken') => void = () => undefined;

  constructor(
    repository: TelemetryRepository,
    redeliveries: Redeliveries,
    private readonly server: DeferredAckMqttServer,
    private readonly metrics: IngestMetrics,
    private readonly config: IngestBridgeConfig,
    private readonly lifecycle: Lifecycle,
  ) {
    const admission = new Admission(repository, redeliveries.ledger, new DeviceAllowance(config.maxNewDevicesPerMinute));
    this.lanes = Array.from({ length: config.writerLanes }, () => this.lane(repository, admission));
    server.onResumed = (connection) => {
      this.abandonBefore(connection);
      // Two processes with one client id throw each other out in turn, and not every broker says why (MQTT 3.1.1, Mosquitto 2.0).
      // The one that came first gives way; any other failure says nothing about that.
      repository.assertEpoch().catch((cause: unknown) => {
        if (commitFailure(cause) === 'replaced') lifecycle.fail(new ReceiverReplacedError({ cause }));
      });
    };
    server.onFatal = (error) => lifecycle.fail(error);
    metrics.watch({
      connected: () => Number(server.connected),
      unacknowledged: () => server.unacknowledged,
      queued: () => this.sum((lane) => lane.queued),
      openBatches: () => this.sum((lane) => lane.openBatches),
      inFlight: () => this.inFlight,
    });
  }

  /** Why nothing is stored at the moment; undefined while commits succeed. */
  get problem(): string | undefined {
    return this.lanes.find((lane) => lane.problem !== undefined)?.problem;
  }

  start(): void {
    const running = Promise.all(this.lanes.map((lane) => lane.run()));
    // A lane survives every failure of the database; what it throws is a bug, and a restart is safer than a lane less.
    running.catch((error: Error) => this.lifecycle.fail(error));
    this.running = running;
  }

  take(message: TelemetryMessage): void {
    const lane = this.laneOf(message.tenantId, message.deviceId);
    if (this.mayQueue(lane, message)) lane.take(message);
  }

  quarantine(rejection: Rejection): void {
    const lane = this.lanes[0]!;
    if (this.mayQueue(lane, rejection)) lane.quarantine(rejection);
  }

  /** Takes a rejection again, judged anew. Whoever calls bounds what is under way: there is no broker that would be slowed down. */
  replay(item: TelemetryMessage | Rejection): void {
    if ('messageId' in item) this.laneOf(item.tenantId, item.deviceId).take(item);
    else this.lanes[0]!.quarantine(item);
  }

  /** Stores and seals everything, or as much as the time allows. What is not stored stays unacknowledged. */
  async drain(limitMs: number): Promise<void> {
    for (const lane of this.lanes) lane.drain();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => (timer = setTimeout(() => resolve('late'), limitMs)));
    const outcome = await Promise.race([this.running, late]);
    clearTimeout(timer);
    if (outcome === 'late') this.logger.warn(`${this.inFlight} messages could not be stored in time; the broker sends them again`);
  }

  /** QoS 0 messages come without a promise and nobody is told to slow down: beyond a bound they are dropped. */
  private mayQueue(lane: WriterLane, item: TelemetryMessage | Rejection): boolean {
    const isCrowded = lane.queued >= 2 * this.config.maxUnacknowledged || lane.queuedBytes >= MOST_UNPROMISED_BYTES;
    if (!item.receipt && isCrowded) {
      this.metrics.countProcessed('dropped');
      return false;
    }
    this.inFlight += 1;
    return true;
  }

  private lane(repository: TelemetryRepository, admission: Admission): WriterLane {
    const { batchSize, batchTimeoutMs } = this.config;
    const rules = { batchSize, batchTimeoutMs, batchBytes: MAX_BATCH_BYTES, mostOpenBatches: MOST_OPEN_BATCHES };
    const events = {
      committed: (plan: CommitPlan, durationMs: number) => this.onCommitted(plan, durationMs),
      repeated: (receipts: readonly (Receipt | undefined)[]) => {
        this.inFlight -= receipts.length;
        this.metrics.countProcessed('duplicate', receipts.length);
        this.server.acknowledge(receipts);
      },
      replaysTaken: (rejectionIds: readonly string[]) => {
        this.metrics.countReplays('taken', rejectionIds.length);
        this.onReplaysDone(rejectionIds, 'taken');
      },
      failed: (error: Error, failure: Parameters<IngestMetrics['countFailure']>[0], attempt: number) => {
        this.metrics.countFailure(failure);
        // The first of a row of failures, then ever rarer.
        if ((attempt & (attempt - 1)) === 0) this.logger.warn('commit failed, trying again', { failure, attempt, reason: error.message });
      },
    };
    return new WriterLane(repository, admission, rules, events, SYSTEM_CLOCK);
  }

  /** Here, after COMMIT, and in `repeated` above, and nowhere else, messages are acknowledged. */
  private onCommitted(plan: CommitPlan, durationMs: number): void {
    const received = plan.messages.filter(({ message }) => message.replayOf === undefined);
    this.inFlight -= received.length + plan.rejections.length;
    this.server.acknowledge([...received.map(({ message }) => message.receipt), ...plan.rejections.map(({ receipt }) => receipt)]);
    this.metrics.countCommit(plan, durationMs);
    if (plan.rejections.length > 0) this.onQuarantined(plan.rejections);
    if (plan.replays.length === 0) return;
    this.onReplaysDone(
      plan.replays.map(({ rejectionId }) => rejectionId),
      'settled',
    );
  }

  private abandonBefore(connection: number): void {
    const abandoned = this.sum((lane) => lane.abandonBefore(connection));
    this.inFlight -= abandoned;
    this.metrics.countProcessed('abandoned', abandoned);
  }

  private laneOf(tenantId: string, deviceId: string): WriterLane {
    if (this.lanes.length === 1) return this.lanes[0]!;
    let hash = 0;
    for (const character of deviceKey(tenantId, deviceId)) hash = (Math.imul(hash, 31) + character.charCodeAt(0)) | 0;
    return this.lanes[(hash >>> 0) % this.lanes.length]!;
  }

  private sum(of: (lane: WriterLane) => number): number {
    return this.lanes.reduce((total, lane) => total + of(lane), 0);
  }
}
