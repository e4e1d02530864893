import { progressLine } from './simulation-result.js';
import type { MqttPublisher } from './mqtt-publisher.js';

export interface TextStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

const TERMINAL_INTERVAL_MS = 1_000;
const LOG_INTERVAL_MS = 5_000;

/** Says how far the simulation is: one line rewritten every second on a terminal, a line every 5 s elsewhere. */
export class ProgressReport {
  private readonly timer: NodeJS.Timeout;
  private readonly startedAtMs = performance.now();
  private last = { atMs: this.startedAtMs, acknowledged: 0 };

  constructor(
    private readonly stream: TextStream,
    private readonly publisher: MqttPublisher,
  ) {
    this.timer = setInterval(() => this.report(), stream.isTTY ? TERMINAL_INTERVAL_MS : LOG_INTERVAL_MS);
  }

  /** On a terminal the last state stays; elsewhere the final count that follows says it better. */
  stop(): void {
    clearInterval(this.timer);
    if (!this.stream.isTTY) return;
    this.report();
    this.stream.write('\n');
  }

  private report(): void {
    const { counts, inFlight, problem } = this.publisher;
    const atMs = performance.now();
    const ratePerS = ((counts.acknowledged - this.last.acknowledged) * 1000) / Math.max(1, atMs - this.last.atMs);
    this.last = { atMs, acknowledged: counts.acknowledged };
    const line = progressLine({ ...counts, elapsedMs: atMs - this.startedAtMs, ratePerS, inFlight, problem });
    // Carriage return, the line, erase what an earlier and longer one left.
    this.stream.write(this.stream.isTTY ? `\r${line}\x1b[K` : `${line}\n`);
  }
}
