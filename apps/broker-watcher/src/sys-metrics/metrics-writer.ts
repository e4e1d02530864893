import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import { commitFailure } from '../recording/commit-error.js';
import { HistoryRepository } from '../recording/history.repository.js';
import { WatcherMetrics } from '../watcher.metrics.js';
import { MetricNames } from './metric-names.js';
import { type MetricValue, MetricValuesRepository } from './metric-values.repository.js';

const WRITE_EVERY_MS = 250;
/** Some minutes of a broker that publishes every second; beyond it the oldest are dropped. */
const MOST_WAITING = 20_000;

/** Stores metric values a few times a second. They come at QoS 0: while the database is away a bounded number waits. */
@Injectable()
export class MetricsWriter implements OnModuleDestroy {
  private readonly logger = new Logger(MetricsWriter.name);
  private readonly names = new MetricNames();
  private hasWarned = false;
  private waiting: MetricValue[] = [];
  private underWay: MetricValue[] = [];
  /** Up to here values may be rolled up; undefined when none are, as far as this process knows. */
  private settledMs: number | undefined;
  private writing: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly repository: MetricValuesRepository,
    private readonly partitions: HistoryRepository,
    private readonly metrics: WatcherMetrics,
  ) {}

  start(): void {
    this.timer = setInterval(() => void this.write(), WRITE_EVERY_MS);
  }

  onModuleDestroy(): void {
    clearInterval(this.timer);
  }

  take(value: MetricValue): void {
    if (!this.names.admits(value.metric)) return this.turnAway(value);
    this.waiting.push(value);
    if (this.waiting.length <= MOST_WAITING) return;
    this.metrics.countValues('dropped', this.waiting.splice(0, MOST_WAITING / 2).length);
  }

  /** Stores what is waiting; resolves when it is stored or the try has failed. */
  async write(): Promise<void> {
    this.writing ??= this.writeWaiting().finally(() => (this.writing = undefined));
    await this.writing;
  }

  /**
   * Up to when, at most until `untilMs`, no value is waiting or under way: so far they may be rolled up. Whatever is stored from now on
   * for a time before it, because the clock was set back, is noted as late.
   */
  settle(untilMs: number): number {
    let settledMs = untilMs;
    for (const { receivedAtMs } of [...this.underWay, ...this.waiting]) settledMs = Math.min(settledMs, receivedAtMs);
    this.settledMs = Math.max(this.settledMs ?? settledMs, settledMs);
    return settledMs;
  }

  private turnAway({ metric }: MetricValue): void {
    this.metrics.countValues('unnamed');
    if (this.hasWarned) return;
    this.hasWarned = true;
    this.logger.warn('too many metrics: values of new ones are not stored. Who may publish below $SYS/broker/?', {
      metric: metric.slice(0, 200),
    });
  }

  private async writeWaiting(): Promise<void> {
    if (this.waiting.length === 0) return;
    this.underWay = this.waiting;
    this.waiting = [];
    try {
      await this.repository.insert(this.underWay, this.settledMs);
      this.metrics.countValues('stored', this.underWay.length);
    } catch (error) {
      await this.beforeRetry(error as Error);
      // In front of what came meanwhile; a try whose outcome is unknown may leave a value twice, which no reader minds.
      this.waiting = [...this.underWay, ...this.waiting];
    } finally {
      this.underWay = [];
    }
  }

  private async beforeRetry(error: Error): Promise<void> {
    const times = this.underWay.map(({ receivedAtMs }) => receivedAtMs);
    const mended = commitFailure(error) === 'partition_missing' ? this.partitions.ensureDays(times) : Promise.reject(error);
    await mended.catch(({ message }: Error) => {
      this.logger.warn('metric values could not be stored, trying again', { reason: message, waiting: times.length });
    });
  }
}
