// The messages of every contestant: the same topics and the same payloads of about 500 bytes in every run.
import { hash } from 'node:crypto';

export const TOPIC_FILTER = 'veep/+/+/+/data';
const FIRST_READING_S = Date.UTC(2026, 0, 1) / 1000;
const DEVICES_PER_SITE = 50;

/**
 * @typedef {object} FleetSize
 * @property {number} devices they send in turn
 * @property {number} tenants at most as many as devices
 */

/** Message number `index`. The payload holds the number, so no two are equal; it does not depend on the number of tenants. */
export function messageAt(/** @type {number} */ index, /** @type {FleetSize} */ { devices, tenants }) {
  const device = index % devices;
  const { tenantId, siteId, deviceId } = identityOf(device, tenants);
  return { topic: `veep/${tenantId}/${siteId}/${deviceId}/data`, payload: payloadAt(index, deviceId) };
}

export function identityOf(/** @type {number} */ device, /** @type {number} */ tenants) {
  return {
    tenantId: `tenant-${String((device % tenants) + 1).padStart(4, '0')}`,
    siteId: `site-${String(Math.floor(device / DEVICES_PER_SITE) + 1).padStart(3, '0')}`,
    deviceId: `METER_${String(device + 1).padStart(6, '0')}`,
  };
}

const knownHashes = new Map();

/** SHA-256 (hex) of the first `messages` payloads, each mapped to its number. */
export function expectedHashes(/** @type {number} */ messages, /** @type {number} */ devices) {
  const key = `${messages} ${devices}`;
  if (!knownHashes.has(key)) {
    const hashes = new Map();
    for (let index = 0; index < messages; index++) hashes.set(hash('sha256', messageAt(index, { devices, tenants: 1 }).payload), index);
    knownHashes.set(key, hashes);
  }
  return knownHashes.get(key);
}

/** A reading of a three-phase meter. */
function payloadAt(index, deviceId) {
  const reading = (field, middle, span, digits) => Number((middle + span * (noise(index, field) - 0.5)).toFixed(digits));
  const phase = (number) => ({
    voltage: reading(10 * number, 230, 12, 1),
    current: reading(10 * number + 1, 18, 20, 2),
    power_factor: reading(10 * number + 2, 0.91, 0.1, 3),
    thd: reading(10 * number + 3, 4, 3, 2),
  });
  return JSON.stringify({
    deviceId,
    timestamp: FIRST_READING_S + index,
    seq: index,
    kwh: reading(1, 182_000, 90_000, 3),
    power: reading(2, 9_400, 6_000, 1),
    reactive_power: reading(3, 1_200, 900, 1),
    frequency: reading(4, 50, 0.1, 3),
    temperature: reading(5, 28, 18, 1),
    l1: phase(1),
    l2: phase(2),
    l3: phase(3),
    metadata: {
      firmware_version: '2.1.0',
      signal_strength: -reading(6, 65, 30, 0),
      model: 'EM-340',
      line: 'press-shop-2',
      shift: 'early',
      order: 'A-20417',
    },
  });
}

/** In [0, 1), the same for the same arguments. */
function noise(index, field) {
  let mixed = Math.imul(index + 1, 0x9e3779b1) ^ Math.imul(field + 1, 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
  mixed = Math.imul(mixed ^ (mixed >>> 12), 0x297a2d39);
  return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
}
