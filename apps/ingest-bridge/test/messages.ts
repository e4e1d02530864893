import type { ReceivedPacket } from '@tallystick/mqtt';
import { telemetryMessage, type TelemetryMessage } from '../src/intake/telemetry-message.js';

/** A delivery of device `d` of a tenant; whatever a spec is about goes into `changes`. */
export function packet(tenantId: string, payload: string, changes: Partial<ReceivedPacket> = {}): ReceivedPacket {
  const defaults = {
    qos: 1,
    retained: false,
    receivedAtMs: 1_795_300_000_000,
    arrivedAtMs: 0,
    receipt: undefined,
    deduplicationKey: undefined,
  };
  return { topic: `veep/${tenantId}/s/d/data`, payload: Buffer.from(payload), ...defaults, ...changes };
}

/** The same delivery, accepted: identified and hashed. */
export function message(tenantId: string, payload = '{}', changes: Partial<ReceivedPacket> = {}, deviceId = 'd'): TelemetryMessage {
  const content = { tenantId, siteId: 's', deviceId, rawData: payload, rawDataError: null, deviceTimestampMs: null, firmwareVersion: null };
  return telemetryMessage(packet(tenantId, payload, changes), content);
}
