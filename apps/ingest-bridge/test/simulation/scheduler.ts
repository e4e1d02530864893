/** Numbers from 0 to 1 that depend on the seed alone: mulberry32 (T. Ettinger, public domain). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Pending {
  process: number;
  go: () => void;
}

/**
 * Decides what happens next. Whatever awaits in the simulated world waits here, and goes on when it is drawn: every order of
 * events that the real world could produce can be drawn, and the same seed draws the same one again.
 */
export class Scheduler {
  private pending: Pending[] = [];
  private timeMs = 0;

  constructor(readonly random: () => number) {}

  get nowMs(): number {
    return this.timeMs;
  }

  get isIdle(): boolean {
    return this.pending.length === 0;
  }

  chance(probability: number): boolean {
    return this.random() < probability;
  }

  below(limit: number): number {
    return Math.floor(this.random() * limit);
  }

  /** Resolves some time later, unless the process that waits is killed before: then never. */
  later(process: number): Promise<void> {
    return new Promise((resolve) => this.pending.push({ process, go: resolve }));
  }

  /** What a killed process waited for never happens. */
  kill(process: number): void {
    this.pending = this.pending.filter((waiting) => waiting.process !== process);
  }

  /** Lets one of the waiting go on, and everything that follows from it without waiting. */
  async step(): Promise<void> {
    this.timeMs += this.below(50);
    if (this.pending.length > 0) this.pending.splice(this.below(this.pending.length), 1)[0]!.go();
    await new Promise(setImmediate);
  }
}
