const MINUTE_MS = 60_000;

/**
 * How many devices may appear that were never seen before: topics are chosen by strangers, and every new one is a row for ever.
 * A bucket that holds `perMinute` and fills up evenly.
 */
export class DeviceAllowance {
  private left: number;
  private filledAtMs: number | undefined;

  constructor(private readonly perMinute: number) {
    this.left = perMinute;
  }

  /**
   * Takes one; false when the minute's are used up, or, for what must not use up those of others (`spareOnly`), when half of them are.
   * `nowMs` is monotonic.
   */
  take(nowMs: number, spareOnly = false): boolean {
    const refill = ((nowMs - (this.filledAtMs ?? nowMs)) / MINUTE_MS) * this.perMinute;
    this.left = Math.min(this.perMinute, this.left + refill);
    this.filledAtMs = nowMs;
    if (this.left < (spareOnly ? Math.min(this.perMinute, this.perMinute / 2 + 1) : 1)) return false;
    this.left -= 1;
    return true;
  }
}
