import { randomFillSync } from 'node:crypto';

const POOL_SIZE_BYTES = 8 * 1024;
const pool = Buffer.alloc(POOL_SIZE_BYTES);
let poolOffset = POOL_SIZE_BYTES;
const counters = { ms: -1, value: 0 };

/**
 * A UUIDv7 (RFC 9562 section 5.7) for a time in Unix milliseconds. Ids made by this process for the same millisecond
 * ascend (section 6.2, method 1: rand_a is a counter, 4,096 a millisecond; beyond that their order is random).
 */
export function uuidv7(unixMs: number): string {
  if (poolOffset + 8 > POOL_SIZE_BYTES) {
    randomFillSync(pool);
    poolOffset = 0;
  }
  if (unixMs !== counters.ms) Object.assign(counters, { ms: unixMs, value: 0 });
  const counter = counters.value++ & 0xfff;
  const variant = (pool[poolOffset]! & 0x3f) | 0x80;
  const time = unixMs.toString(16).padStart(12, '0');
  const random = pool.toString('hex', poolOffset + 1, poolOffset + 8);
  poolOffset += 8;
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(counter, 3)}-${hex(variant, 2)}${random.slice(0, 2)}-${random.slice(2)}`;
}

/** The smallest UUID of a time: `message_id >= uuidv7Floor(from) AND message_id < uuidv7Floor(to)` prunes partitions. */
export function uuidv7Floor(unixMs: number): string {
  const time = unixMs.toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-0000-0000-000000000000`;
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}
