import { deviceKey } from '../batching/commit-plan.js';

interface DeviceName {
  tenantId: string;
  deviceId: string;
}

const MOST_REMEMBERED = 100_000;

/**
 * The devices known to have a row, so that a commit need not insert them. Forgetting one costs an insert that does nothing;
 * remembering one that has no row would break every commit of its messages, so devices are remembered only after COMMIT.
 */
export class DeviceRegistry {
  private readonly known = new Set<string>();

  unknown<T extends DeviceName>(devices: readonly T[]): T[] {
    return devices.filter(({ tenantId, deviceId }) => !this.known.has(deviceKey(tenantId, deviceId)));
  }

  remember(devices: readonly DeviceName[]): void {
    for (const { tenantId, deviceId } of devices) this.known.add(deviceKey(tenantId, deviceId));
    if (this.known.size > MOST_REMEMBERED) this.known.clear();
  }

  /** After a commit that found a remembered device without its row: somebody deleted it. */
  forgetAll(): void {
    this.known.clear();
  }
}
