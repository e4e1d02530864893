import { Injectable } from '@nestjs/common';
import { Metrics } from '@tallystick/observability';
import { EVENT_ACTIONS, GAP_REASONS } from '@tallystick/persistence';
import { COMMIT_FAILURES, type CommitFailure } from './recording/commit-error.js';
import type { HistoryPlan } from './recording/history-plan.js';

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** What the watcher counts. At any time: received = stored + duplicate + abandoned + in flight. */
@Injectable()
export class WatcherMetrics {
  private readonly received;
  private readonly processed;
  private readonly events;
  private readonly values;
  private readonly gaps;
  private readonly lineDuration;
  private readonly writeDuration;
  private readonly commitFailures;
  private readonly reported;
  private readonly drift;

  constructor(private readonly metrics: Metrics) {
    this.received = metrics.counter({ name: 'mqtt_messages_received_total', help: 'Log lines that the broker delivered.' });
    this.processed = metrics.counter({
      name: 'mqtt_messages_processed_total',
      help:
        'Log lines that are done with: stored; duplicate (delivered again, stored before); abandoned (unstored when the connection ' +
        'ended, the broker delivers them again).',
      labels: { result: ['stored', 'duplicate', 'abandoned'] },
    });
    this.events = metrics.counter({
      name: 'broker_events_total',
      help: 'Log lines stored, by what they say.',
      labels: { action: EVENT_ACTIONS },
    });
    this.values = metrics.counter({
      name: 'broker_sys_values_total',
      help:
        '$SYS values: stored; text (version); invalid (no number that can be stored); dropped (the database was away for too ' +
        'long); unnamed (of one metric too many).',
      labels: { result: ['stored', 'text', 'invalid', 'dropped', 'unnamed'] },
    });
    this.gaps = metrics.counter({
      name: 'broker_observation_gaps_total',
      help: 'Times of which log lines are missing.',
      labels: { reason: GAP_REASONS },
    });
    this.lineDuration = metrics.histogram({
      name: 'message_processing_duration_seconds',
      help: 'From receipt to COMMIT.',
      buckets: SECONDS,
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
    this.reported = metrics.gauge({ name: 'broker_clients_connected', help: 'Connections, as the broker counts them.' });
    this.drift = metrics.gauge({
      name: 'broker_sessions_drift',
      help: 'Open sessions less connections as the broker counts them. Not zero for long: lines are missing.',
    });
  }

  /** Gauges that are read when Prometheus asks. */
  watch(gauges: Record<'connected' | 'unacknowledged' | 'inFlight' | 'openSessions', () => number>): void {
    const gauge = (name: string, help: string, read: () => number) => this.metrics.gauge({ name, help, collect: (own) => own.set(read()) });
    gauge('mqtt_connection_status', '1 while connected to the broker.', gauges.connected);
    gauge('mqtt_messages_unacknowledged', 'Log lines received and not acknowledged yet.', gauges.unacknowledged);
    gauge('watcher_in_flight_lines', 'Log lines received and not done with.', gauges.inFlight);
    gauge('broker_sessions_open', 'Sessions that are open by the log.', gauges.openSessions);
  }

  countReceived(lines: number): void {
    this.received.inc(lines);
  }

  countLines(result: 'duplicate' | 'abandoned', lines: number): void {
    this.processed.inc({ result }, lines);
  }

  countValues(result: 'stored' | 'text' | 'invalid' | 'dropped' | 'unnamed', values = 1): void {
    this.values.inc({ result }, values);
  }

  countFailure(failure: CommitFailure): void {
    this.commitFailures.inc({ failure });
  }

  countCommit({ events, gaps }: HistoryPlan, durationMs: number): void {
    const nowMs = performance.now();
    this.writeDuration.observe(durationMs / 1_000);
    for (const { line, lineCount, arrivedAtMs } of events) {
      this.processed.inc({ result: 'stored' }, lineCount);
      this.events.inc({ action: line.action }, lineCount);
      this.lineDuration.observe((nowMs - arrivedAtMs) / 1_000);
    }
    for (const { reason } of gaps) this.gaps.inc({ reason });
  }

  showClients(reported: number, openSessions: number): void {
    this.reported.set(reported);
    this.drift.set(openSessions - reported);
  }
}
