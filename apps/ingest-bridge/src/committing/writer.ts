import { Injectable, Logger } from '@nestjs/common';
import { DeferredAckMqttServer } from '@tallystick/mqtt';
import { Lifecycle } from '@tallystick/observability';
import { type CommitPlan, deviceKey } from '../batching/commit-plan.js';
import { IngestBridgeConfig } from '../ingest-bridge.config.js';
import { IngestMetrics } from '../ingest.metrics.js';
import type { Rejection, TelemetryMessage } from '../intake/telemetry-message.js';
import { TelemetryRepository } from './telemetry.repository.js';
import { type PlanStore, WriterLane } from './writer-lane.js';

const MAX_BATCH_BYTES = 64 * 1024 * 1024;

/** All lanes. A device always writes through the same lane, so that its messages stay in order. */
@Injectable()
export class Writer {
  private readonly logger = new Logger(Writer.name);
  private readonly lanes: WriterLane[];
  private readonly running: Promise<void[]>;

  constructor(
    repository: TelemetryRepository,
    private readonly server: DeferredAckMqttServer,
    private readonly metrics: IngestMetrics,
    private readonly config: IngestBridgeConfig,
    lifecycle: Lifecycle,
  ) {
    this.lanes = Array.from({ length: config.writerLanes }, () => this.lane(repository));
    // A lane survives every failure of the database; what it throws is a bug, and a restart is safer than a lane less.
    this.running = Promise.all(this.lanes.map((lane) => lane.run()));
    this.running.catch((error: Error) => lifecycle.fail(error));
    metrics.watch({
      connected: () => server.connected,
      unacknowledged: () => server.unacknowledged,
      queued: () => this.sum((lane) => lane.queued),
      openBatches: () => this.sum((lane) => lane.openBatches),
    });
  }

  /** Why nothing is stored at the moment; undefined while commits succeed. */
  get problem(): string | undefined {
    return this.lanes.find((lane) => lane.problem !== undefined)?.problem;
  }

  take(message: TelemetryMessage): void {
    const lane = this.laneOf(message.tenantId, message.deviceId);
    if (!message.receipt && this.isCrowded(lane)) return this.metrics.countDropped();
    lane.take(message);
  }

  quarantine(rejection: Rejection): void {
    const lane = this.lanes[0]!;
    if (!rejection.receipt && this.isCrowded(lane)) return this.metrics.countDropped();
    lane.quarantine(rejection);
  }

  /** Stores and seals everything, or as much as the time allows. What is not stored stays unacknowledged. */
  async drain(limitMs: number): Promise<void> {
    for (const lane of this.lanes) lane.drain();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => (timer = setTimeout(() => resolve('late'), limitMs)));
    const outcome = await Promise.race([this.running, late]);
    clearTimeout(timer);
    if (outcome === 'late') {
      const left = this.sum((lane) => lane.queued);
      this.logger.warn(`${left} messages could not be stored in time; they stay unacknowledged and the broker sends them again`);
    }
  }

  /** QoS 0 messages come without a promise: nobody is told to slow down, so beyond this many waiting ones they are dropped. */
  private isCrowded(lane: WriterLane): boolean {
    return lane.queued >= 2 * this.config.maxUnacknowledged;
  }

  private lane(store: PlanStore): WriterLane {
    const { batchSize, batchTimeoutMs } = this.config;
    const rules = { batchSize, batchTimeoutMs, batchBytes: MAX_BATCH_BYTES };
    return new WriterLane(store, rules, {
      committed: (plan, durationMs) => this.onCommitted(plan, durationMs),
      failed: (error, failure, attempt) => {
        this.metrics.countFailure(failure);
        // The first of a row of failures, then ever rarer.
        if ((attempt & (attempt - 1)) === 0) this.logger.warn('commit failed, trying again', { failure, attempt, reason: error.message });
      },
    });
  }

  /** Here, after COMMIT, and nowhere else, messages are acknowledged. */
  private onCommitted(plan: CommitPlan, durationMs: number): void {
    this.server.acknowledge([...plan.messages.map(({ message }) => message.receipt), ...plan.rejections.map(({ receipt }) => receipt)]);
    this.metrics.countCommit(plan, durationMs);
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
