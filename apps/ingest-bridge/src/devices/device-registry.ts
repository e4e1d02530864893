import { type DeviceGain, deviceKey } from '../batching/commit-plan.js';

const MOST_REMEMBERED = 100_000;

/**
 * The devices known to have a row, so that a commit need not insert them. Forgetting one costs an insert that does nothing;
 * remembering one that has no row would break every commit of its messages, so devices are remembered only after COMMIT.
 */
export class DeviceRegistry {
  private readonly known = new Set<string>();

  unknown(gains: readonly DeviceGain[]): DeviceGain[] {
    return gains.filter((gain) => !this.known.has(deviceKey(gain.tenantId, gain.deviceId)));
  }

  remember(gains: readonly DeviceGain[]): void {
    for (const gain of gains) this.known.add(deviceKey(gain.tenantId, gain.deviceId));
    if (this.known.size > MOST_REMEMBERED) this.known.clear();
  }

  /** After a commit that found a remembered device without its row: somebody deleted it. */
  forgetAll(): void {
    this.known.clear();
  }
}
