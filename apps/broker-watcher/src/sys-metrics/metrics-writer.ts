import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import { commitFailure } from '../recording/commit-error.js';
import { HistoryRepository } from '../recording/history.repository.js';
import { WatcherMetrics } from '../watcher.metrics.js';
import { type MetricValue, MetricValuesRepository } from './metric-values.repository.js';

const WRITE_EVERY_MS = 250;
/** Some minutes of a broker that publishes every second; beyond it the oldest are dropped. */
const MOST_WAITING = 20_000;

/** Stores metric values a few times a second. They come at QoS 0: while the database is away a bounded number waits. */
@Injectable()
export class MetricsWriter implements OnModuleDestroy {
  private readonly logger = new Logger(MetricsWriter.name);
  private waiting: MetricValue[] = [];
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
    this.waiting.push(value);
    if (this.waiting.length <= MOST_WAITING) return;
    this.metrics.countValues('dropped', this.waiting.splice(0, MOST_WAITING / 2).length);
  }

  /** Stores what is waiting; resolves when it is stored or the try has failed. */
  async write(): Promise<void> {
    this.writing ??= this.writeWaiting().finally(() => (this.writing = undefined));
    await this.writing;
  }

  private async writeWaiting(): Promise<void> {
    if (this.waiting.length === 0) return;
    const values = this.waiting;
    this.waiting = [];
    try {
      await this.repository.insert(values);
      this.metrics.countValues('stored', values.length);
    } catch (error) {
      // In front of what came meanwhile; a try whose outcome is unknown may leave a value twice, which no reader minds.
      this.waiting = [...values, ...this.waiting];
      if (commitFailure(error) === 'partition_missing') {
        const times = values.map(({ receivedAtMs }) => receivedAtMs);
        await this.partitions.ensurePartitions(Math.min(...times), Math.max(...times)).catch(() => undefined);
      } else {
        this.logger.warn('metric values could not be stored, trying again', { reason: (error as Error).message, waiting: values.length });
      }
    }
  }
}
