import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import { HistoryRepository } from './history.repository.js';

const HOUR_MS = 3600 * 1000;
/** Yesterday, in case the clock goes back; two days ahead, in case nobody can make them at midnight. */
const BEHIND_MS = 24 * HOUR_MS;
const AHEAD_MS = 48 * HOUR_MS;

/** Makes tomorrow's partitions today. A missing one is also made when a commit meets it, so a failure here loses nothing. */
@Injectable()
export class PartitionKeeper implements OnModuleDestroy {
  private readonly logger = new Logger(PartitionKeeper.name);
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly repository: HistoryRepository) {}

  async start(): Promise<void> {
    await this.ensure();
    this.timer = setInterval(() => void this.ensure(), HOUR_MS);
  }

  onModuleDestroy(): void {
    clearInterval(this.timer);
  }

  private async ensure(): Promise<void> {
    try {
      const made = await this.repository.ensurePartitions(Date.now() - BEHIND_MS, Date.now() + AHEAD_MS);
      if (made.length > 0) this.logger.log(`partitions made: ${made.join(', ')}`);
    } catch (error) {
      this.logger.warn(`partitions could not be made now: ${(error as Error).message}`);
    }
  }
}
