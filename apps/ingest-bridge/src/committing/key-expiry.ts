import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import { IngestBridgeConfig } from '../ingest-bridge.config.js';
import { TelemetryRepository } from './telemetry.repository.js';

const EVERY_MS = 10 * 60 * 1000;
/** Some ten milliseconds of work for one statement. */
const MOST_AT_ONCE = 5_000;

/** Forgets deduplication keys that no broker can ask about any more. Every bridge does; a failure here only leaves them for later. */
@Injectable()
export class KeyExpiry implements OnModuleDestroy {
  private readonly logger = new Logger(KeyExpiry.name);
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(
    private readonly repository: TelemetryRepository,
    private readonly config: IngestBridgeConfig,
  ) {}

  start(): void {
    if (this.config.dedupKey !== undefined) void this.forgetAll();
  }

  onModuleDestroy(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  private async forgetAll(): Promise<void> {
    try {
      while (!this.stopped && (await this.repository.forgetKeys(this.config.dedupKeyHours, MOST_AT_ONCE)) === MOST_AT_ONCE);
    } catch (error) {
      this.logger.warn(`old deduplication keys could not be forgotten now: ${(error as Error).message}`);
    }
    if (!this.stopped) this.timer = setTimeout(() => void this.forgetAll(), EVERY_MS);
  }
}
