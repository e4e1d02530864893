import { EnergyMeter } from './energy-meter.js';
import { streamSeed } from './random.js';

const DEVICES_PER_SITE = 10;

export interface FleetOptions {
  devices: number;
  /** At most as many as devices. */
  tenants: number;
  topicRoot: string;
  seed: number;
  run: string;
}

export interface DeviceIdentity {
  tenantId: string;
  siteId: string;
  deviceId: string;
}

export interface OutgoingMessage {
  topic: string;
  payload: string;
}

/** Who the device with this index (from 0) is. Neighbours belong to different tenants, so tenants differ by one device at most. */
export function deviceIdentity(index: number, tenants: number): DeviceIdentity {
  return {
    tenantId: `factory${(index % tenants) + 1}`,
    siteId: `line${Math.floor(index / tenants / DEVICES_PER_SITE) + 1}`,
    deviceId: `METER_${String(index + 1).padStart(4, '0')}`,
  };
}

/** All simulated devices, which send in turn. */
export class Fleet {
  /** Made when a device sends for the first time. */
  private readonly devices: { topic: string; meter: EnergyMeter }[] = [];
  private turn = 0;

  constructor(private readonly options: FleetOptions) {}

  /** What the device whose turn it is sends at a Unix time in ms. */
  next(unixMs: number): OutgoingMessage {
    const device = (this.devices[this.turn] ??= this.install(this.turn));
    this.turn = (this.turn + 1) % this.options.devices;
    return { topic: device.topic, payload: JSON.stringify(device.meter.read(unixMs)) };
  }

  private install(index: number): { topic: string; meter: EnergyMeter } {
    const { tenants, topicRoot, seed, run } = this.options;
    const { tenantId, siteId, deviceId } = deviceIdentity(index, tenants);
    const meter = new EnergyMeter({ deviceId, run, seed: streamSeed(seed, index) });
    return { topic: `${topicRoot}/${tenantId}/${siteId}/${deviceId}/data`, meter };
  }
}
