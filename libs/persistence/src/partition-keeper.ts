const HOUR_MS = 3600 * 1000;
/** Yesterday, in case the clock goes back; two days ahead, in case nobody can make them at midnight. */
const BEHIND_MS = 24 * HOUR_MS;
const AHEAD_MS = 48 * HOUR_MS;

/** Makes tomorrow's partitions today. A missing one is also made when a commit meets it, so a failure here loses nothing. */
export class PartitionKeeper {
  private timer: NodeJS.Timeout | undefined;

  constructor(
    /** Makes the partitions of a span of Unix ms that are missing, and names them. */
    private readonly ensurePartitions: (fromMs: number, toMs: number) => Promise<string[]>,
    private readonly logger: { log(message: string): void; warn(message: string): void },
  ) {}

  async start(): Promise<void> {
    await this.ensure();
    this.timer = setInterval(() => void this.ensure(), HOUR_MS);
  }

  /** Nest calls it. */
  onModuleDestroy(): void {
    clearInterval(this.timer);
  }

  private async ensure(): Promise<void> {
    try {
      const made = await this.ensurePartitions(Date.now() - BEHIND_MS, Date.now() + AHEAD_MS);
      if (made.length > 0) this.logger.log(`partitions made: ${made.join(', ')}`);
    } catch (error) {
      this.logger.warn(`partitions could not be made now: ${(error as Error).message}`);
    }
  }
}
