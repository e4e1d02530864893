import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import { METRICS_ROLLED_TOGETHER_MS, MetricRollUps } from '@tallystick/persistence';
import { BrokerWatcherConfig } from '../broker-watcher.config.js';
import { MetricsWriter } from './metrics-writer.js';

const EVERY_MS = 60_000;
const REMOVE_EVERY_MS = 3_600_000;
/** Longer than the server may still be at what a process before this one sent it. */
const SETTLED_AFTER_MS = 60_000;
/** Somebody may flood a metric. What cannot be rolled up together in time is rolled up minute by minute. */
const SMALLEST_PORTION_MS = 60_000;
/** SQLSTATE of a statement that took too long. */
const CANCELED = '57014';
/** Some hundred milliseconds of work. */
const MINUTES_REMOVED_TOGETHER = 10_000;

/**
 * Rolls the broker's metrics up and removes what has been kept for long enough, on connections of its own and in small transactions,
 * with pauses between: neither log lines nor values wait for it. What fails is tried again a minute later.
 */
@Injectable()
export class MetricsKeeper implements OnModuleDestroy {
  private readonly logger = new Logger(MetricsKeeper.name);
  private portionMs = METRICS_ROLLED_TOGETHER_MS;
  private removeAtMs = 0;
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(
    private readonly rollUps: MetricRollUps,
    private readonly writer: MetricsWriter,
    private readonly config: BrokerWatcherConfig,
  ) {}

  start(): void {
    void this.keep();
  }

  onModuleDestroy(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  private async keep(): Promise<void> {
    try {
      await this.rollUp(this.config.brokerName, () => this.writer.settle(Date.now() - SETTLED_AFTER_MS));
      if (performance.now() >= this.removeAtMs) await this.remove();
    } catch (error) {
      if (this.stopped) return;
      this.logger.warn(`metrics could not be rolled up or removed now: ${(error as Error).message}`);
    }
    if (!this.stopped) this.timer = setTimeout(() => void this.keep(), EVERY_MS);
  }

  /** Portion by portion until there is no more to roll up before `untilMs`. */
  private async rollUp(broker: string, untilMs: () => number): Promise<void> {
    for (;;) {
      const startMs = performance.now();
      if (this.stopped || (await this.rollUpPortion(broker, untilMs())) !== 'more') return;
      // At most half of the time, whatever months there are to catch up with.
      await sleep(performance.now() - startMs);
    }
  }

  private async rollUpPortion(broker: string, untilMs: number): ReturnType<MetricRollUps['rollUpNext']> {
    try {
      const outcome = await this.rollUps.rollUpNext(broker, untilMs, this.portionMs);
      if (outcome !== 'more') this.portionMs = METRICS_ROLLED_TOGETHER_MS;
      return outcome;
    } catch (error) {
      if ((error as { code?: string }).code !== CANCELED || this.portionMs === SMALLEST_PORTION_MS) throw error;
      this.portionMs = SMALLEST_PORTION_MS;
      return 'more';
    }
  }

  private async remove(): Promise<void> {
    await this.removeDays();
    let removed = 0;
    for (let portion = MINUTES_REMOVED_TOGETHER; portion === MINUTES_REMOVED_TOGETHER && !this.stopped; removed += portion) {
      portion = await this.rollUps.trimMinutes(this.config.metrics1mDays, MINUTES_REMOVED_TOGETHER);
    }
    if (removed > 0) this.logger.log('metrics by minute were removed', { rows: removed, olderThanDays: this.config.metrics1mDays });
    this.removeAtMs = performance.now() + REMOVE_EVERY_MS;
  }

  /**
   * Days are common to all brokers of the database. One whose watcher is gone, or does not keep up, would keep them for ever: what it left
   * is rolled up here.
   */
  private async removeDays(): Promise<void> {
    let waitedFor: string | undefined;
    while (!this.stopped) {
      const day = await this.rollUps.dropOldestDay(this.config.metricsRawDays);
      if (day === undefined) return;
      const { partition, endMs, waitsFor } = day;
      if (waitsFor.length === 0) {
        this.logger.log('metric values were removed', { partition, olderThanDays: this.config.metricsRawDays });
      } else if (waitedFor === partition) {
        return this.logger.warn('metric values are not removed: they are not rolled up yet', { partition, brokers: waitsFor });
      }
      for (const broker of waitsFor) await this.rollUp(broker, () => endMs);
      waitedFor = partition;
    }
  }
}
