import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import { TRIM_REASONS } from '@tallystick/persistence';
import { QUARANTINE_PAYLOAD_BYTES } from '../committing/telemetry.repository.js';
import { Writer } from '../committing/writer.js';
import { IngestBridgeConfig } from '../ingest-bridge.config.js';
import { IngestMetrics } from '../ingest.metrics.js';
import type { Rejection } from '../intake/telemetry-message.js';
import { QuarantineRepository, type Trim } from './quarantine.repository.js';

const INTERVAL_MS = 10 * 60 * 1000;
/** After a failure, or when another bridge is at it, a flood asks again so much later. */
const PAUSE_MS = 5_000;
/** A rejection without payload and topic: the same as in quarantined_bytes of the migration. */
const ROW_BYTES = 400;

/**
 * Keeps the quarantine within its bound: at start, every ten minutes, and in a flood whenever this process has added a sixteenth of
 * QUARANTINE_MAX_BYTES. So the bound is overrun by no more than that for each bridge, and what is committed while a trim runs or
 * another bridge is left to it. Commits neither wait for it nor fail with it.
 */
@Injectable()
export class QuarantineKeeper implements OnModuleDestroy {
  private readonly logger = new Logger(QuarantineKeeper.name);
  private readonly marginBytes: number;
  private timer: NodeJS.Timeout | undefined;
  private pause: NodeJS.Timeout | undefined;
  private trimming = false;
  private stopped = false;
  /** Committed by this process since the quarantine was last measured. */
  private addedBytes = 0;

  constructor(
    private readonly repository: QuarantineRepository,
    private readonly metrics: IngestMetrics,
    config: IngestBridgeConfig,
    writer: Writer,
  ) {
    this.marginBytes = config.quarantineMaxBytes / 16;
    writer.onQuarantined = (rejections) => this.add(rejections);
  }

  start(): void {
    void this.trim();
    this.timer = setInterval(() => void this.trim(), INTERVAL_MS);
  }

  onModuleDestroy(): void {
    this.stopped = true;
    clearInterval(this.timer);
    clearTimeout(this.pause);
  }

  private add(rejections: readonly Rejection[]): void {
    for (const { payload, topic } of rejections) {
      this.addedBytes += Math.min(payload.length, QUARANTINE_PAYLOAD_BYTES) + Buffer.byteLength(topic) + ROW_BYTES;
    }
    this.trimIfDue();
  }

  private trimIfDue(): void {
    if (this.addedBytes >= this.marginBytes && !this.pause) void this.trim();
  }

  private async trim(): Promise<void> {
    if (this.trimming) return;
    this.trimming = true;
    try {
      while (!this.stopped && (await this.trimPortion()));
    } catch (error) {
      this.pauseAWhile();
      this.logger.warn(`the quarantine could not be trimmed now: ${(error as Error).message}`);
    } finally {
      this.trimming = false;
    }
  }

  /** Whether to go on at once: there is more to remove, or as much as to be due again has come meanwhile. */
  private async trimPortion(): Promise<boolean> {
    const measuredBytes = this.addedBytes;
    const trim = await this.repository.trim();
    if (trim === 'busy') {
      this.pauseAWhile();
      return false;
    }
    this.addedBytes -= measuredBytes;
    this.report(trim);
    return trim.more || this.addedBytes >= this.marginBytes;
  }

  private pauseAWhile(): void {
    if (this.stopped) return;
    clearTimeout(this.pause);
    this.pause = setTimeout(() => {
      this.pause = undefined;
      this.trimIfDue();
    }, PAUSE_MS);
  }

  private report(trim: Trim): void {
    for (const reason of TRIM_REASONS) {
      if (trim[reason] === 0) continue;
      this.metrics.countRemoved(reason, trim[reason]);
      this.logger.warn('the oldest rejections were removed from quarantine', { reason, removed: trim[reason] });
    }
  }
}
