import { setTimeout as sleep } from 'node:timers/promises';

/** Work that is done again and again, with a pause after each time, until it is stopped. */
export class Rounds {
  private readonly stopping = new AbortController();
  private running: Promise<void> = Promise.resolve();

  constructor(
    private readonly pauseMs: number,
    private readonly work: () => Promise<void>,
  ) {}

  /** Aborted when the rounds are to stop. */
  get stop(): AbortSignal {
    return this.stopping.signal;
  }

  start(): void {
    this.running = this.run();
  }

  /** Resolves when what is under way is done. */
  async end(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  private async run(): Promise<void> {
    while (!this.stop.aborted) {
      await this.work();
      await sleep(this.pauseMs, undefined, { signal: this.stop }).catch(() => undefined);
    }
  }
}
