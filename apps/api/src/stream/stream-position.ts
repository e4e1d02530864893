/**
 * A message may be committed after one that was received later. So far before the newest one a stream looks again, and passes on
 * what it has not had yet; what is committed later than that is in the lists only.
 */
export const OVERLAP_MS = 5_000;
/** So far the clock of a bridge may be behind ours. */
const CLOCKS_APART_MS = 15_000;

/** Receipt of a message by its UUIDv7 (RFC 9562 section 5.7), in Unix ms. */
export function receivedMsOf(messageId: string): number {
  return parseInt(messageId.slice(0, 8) + messageId.slice(9, 13), 16);
}

/** How far a stream has come: all messages before `fromMs`, and of those from then on the ones it remembers. */
export class StreamPosition {
  private readonly taken = new Set<string>();
  private newestMs: number;

  /** `startMs`: the stream begins with what was received since, and OVERLAP_MS before; not with the messages `taken`. */
  constructor(startMs: number, taken: readonly string[] = []) {
    this.newestMs = startMs;
    for (const messageId of taken) this.taken.add(messageId);
  }

  /** Of a stream that begins now. */
  static now(nowMs: number): StreamPosition {
    return new StreamPosition(nowMs - CLOCKS_APART_MS);
  }

  get fromMs(): number {
    return Math.max(0, this.newestMs - OVERLAP_MS);
  }

  get takenIds(): string[] {
    return [...this.taken];
  }

  take(messageIds: readonly string[], nowMs: number): void {
    for (const messageId of messageIds) {
      this.taken.add(messageId);
      // A time still to come, by a clock ahead of ours, must not hide what the other clocks say meanwhile.
      this.newestMs = Math.max(this.newestMs, Math.min(receivedMsOf(messageId), nowMs));
    }
    for (const messageId of this.taken) if (receivedMsOf(messageId) < this.fromMs) this.taken.delete(messageId);
  }

  /** Nothing more has come by now: looking ever further back for a quiet tenant would be of no use. */
  catchUp(nowMs: number): void {
    this.newestMs = Math.max(this.newestMs, nowMs - CLOCKS_APART_MS);
  }
}
