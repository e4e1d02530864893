import { hasRestarted, startedAtMs, type Uptime } from './uptime.js';

const LATE_MS = 2_000;

/** What is known of the broker itself: version, uptime, what it drops. */
export class BrokerVitals {
  version: string | undefined;
  uptime: Uptime | undefined;
  startedAtMs: number | undefined;
  connectedClients: number | undefined;
  /** The count of dropped messages rose while we watched. */
  dropping = false;
  private dropped: number | undefined;

  /** If this value tells that the broker began anew since the last one: not before when, by the watcher's clock. */
  noteUptime(now: Uptime): number | undefined {
    const before = this.uptime;
    const started = startedAtMs(now);
    this.uptime = now;
    if (before === undefined || !hasRestarted(before, now)) {
      // It moves with every value by what that was late; the earliest is the truest.
      this.startedAtMs = Math.min(this.startedAtMs ?? started, started);
      return undefined;
    }
    this.startedAtMs = started;
    this.dropped = undefined;
    // A retained value may be as old as sys_interval; then only what was known of the old run is certain.
    return now.retained ? before.atMs : Math.max(before.atMs, started - LATE_MS);
  }

  /** Whether the count of dropped messages has risen. */
  noteDropped(messages: number): boolean {
    const rose = this.dropped !== undefined && messages > this.dropped;
    this.dropping ||= rose;
    this.dropped = messages;
    return rose;
  }
}
