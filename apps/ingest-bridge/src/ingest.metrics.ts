import { Injectable } from '@nestjs/common';
import { Metrics } from '@tallystick/observability';
import { TRIM_REASONS, type TrimReason } from '@tallystick/persistence';
import type { CommitPlan } from './batching/commit-plan.js';
import { COMMIT_FAILURES, type CommitFailure } from './committing/commit-error.js';

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** What the bridge counts. At any time: received = stored + rejected + duplicate + abandoned + dropped + in flight. */
@Injectable()
export class IngestMetrics {
  private readonly received;
  private readonly withoutKey;
  private readonly processed;
  private readonly batchesCompleted;
  private readonly messageDuration;
  private readonly batchDuration;
  private readonly writeDuration;
  private readonly commitFailures;
  private readonly quarantineRemoved;
  private readonly replays;

  constructor(private readonly metrics: Metrics) {
    this.received = metrics.counter({ name: 'mqtt_messages_received_total', help: 'Messages that the broker delivered.' });
    this.withoutKey = metrics.counter({
      name: 'mqtt_messages_without_key_total',
      help: 'Messages received without the user property that DEDUP_KEY names: stored, but not known again when another bridge gets them too.',
    });
    this.processed = metrics.counter({
      name: 'mqtt_messages_processed_total',
      help:
        'Messages that are done with: stored; rejected into quarantine; duplicate (stored before, by this bridge or another); abandoned ' +
        '(unstored when the connection ended, the broker delivers them again); dropped (QoS 0 beyond the buffer).',
      labels: { result: ['stored', 'rejected', 'duplicate', 'abandoned', 'dropped'] },
    });
    this.batchesCompleted = metrics.counter({ name: 'batches_completed_total', help: 'Batches sealed.' });
    this.messageDuration = metrics.histogram({
      name: 'message_processing_duration_seconds',
      help: 'From receipt to COMMIT.',
      buckets: SECONDS,
    });
    this.batchDuration = metrics.histogram({
      name: 'batch_processing_duration_seconds',
      help: 'From the first message of a batch to its sealing.',
      buckets: [0.1, 1, 10, 60, 300, 600, 3600],
    });
    this.writeDuration = metrics.histogram({
      name: 'database_write_duration_seconds',
      help: 'One commit, retries included.',
      buckets: SECONDS,
    });
    this.commitFailures = metrics.counter({
      name: 'database_commit_failures_total',
      help: 'Failed tries of a commit.',
      labels: { failure: COMMIT_FAILURES },
    });
    this.quarantineRemoved = metrics.counter({
      name: 'quarantine_removed_total',
      help: 'Rejections removed from quarantine by this process: older than QUARANTINE_MAX_AGE_DAYS, or beyond QUARANTINE_MAX_BYTES.',
      labels: { reason: TRIM_REASONS },
    });
    this.replays = metrics.counter({
      name: 'quarantine_replays_total',
      help: 'Rejections taken through intake again: stored as messages; refused once more; taken (another bridge stored them, or they were discarded).',
      labels: { result: ['stored', 'refused', 'taken'] },
    });
  }

  /** Gauges that are read when Prometheus asks. */
  watch(gauges: Record<'connected' | 'unacknowledged' | 'queued' | 'openBatches' | 'inFlight', () => number>): void {
    const gauge = (name: string, help: string, read: () => number) => this.metrics.gauge({ name, help, collect: (own) => own.set(read()) });
    gauge('mqtt_connection_status', '1 while connected to the broker.', gauges.connected);
    gauge('mqtt_messages_unacknowledged', 'Messages received and not acknowledged yet.', gauges.unacknowledged);
    gauge('ingest_queue_messages', 'Messages waiting for the next commit.', gauges.queued);
    gauge('ingest_in_flight_messages', 'Messages received and not done with: queued or in the commit under way.', gauges.inFlight);
    gauge('batches_open', 'Batches that are filling.', gauges.openBatches);
  }

  countReceived(messages: number): void {
    this.received.inc(messages);
  }

  countWithoutKey(messages: number): void {
    this.withoutKey.inc(messages);
  }

  countProcessed(result: 'duplicate' | 'abandoned' | 'dropped', messages = 1): void {
    this.processed.inc({ result }, messages);
  }

  countFailure(failure: CommitFailure): void {
    this.commitFailures.inc({ failure });
  }

  countRemoved(reason: TrimReason, rejections: number): void {
    this.quarantineRemoved.inc({ reason }, rejections);
  }

  countReplays(result: 'stored' | 'refused' | 'taken', replays: number): void {
    this.replays.inc({ result }, replays);
  }

  /** Replays count as replays only: no broker delivered them, so they have no part in the account above. */
  countCommit(plan: CommitPlan, durationMs: number): void {
    const nowMs = performance.now();
    const received = plan.messages.filter(({ message }) => message.replayOf === undefined);
    const replayed = plan.messages.length - received.length;
    this.countReplays('stored', replayed);
    this.countReplays('refused', plan.replays.length - replayed);
    this.processed.inc({ result: 'stored' }, received.length);
    this.processed.inc({ result: 'rejected' }, plan.rejections.length);
    this.writeDuration.observe(durationMs / 1000);
    for (const { message } of received) this.messageDuration.observe((nowMs - message.arrivedAtMs) / 1000);
    for (const { batch, closeReason } of plan.changes) {
      if (!closeReason) continue;
      this.batchesCompleted.inc();
      this.batchDuration.observe((nowMs - batch.openedAtMs) / 1000);
    }
  }
}
