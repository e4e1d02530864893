/** 9999-12-31T23:59:59.999Z; also below what a UUIDv7 can hold. */
export const LAST_INSTANT_MS = 253_402_300_799_999;

const RFC3339 = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))$/i;

/**
 * Reads an RFC 3339 time (section 5.6) of the years 1970 to 9999; the offset is required. Returns undefined for anything
 * else: dates that do not exist, leap seconds. Stored times have milliseconds, so a finer one is rounded up: for t in
 * whole milliseconds, `t >= x` and `t < x` mean the same for x and for x rounded up.
 */
export function parseInstant(text: string): Date | undefined {
  const match = RFC3339.exec(text);
  if (!match) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [number, number, number, number, number, number];
  const [fraction = '', sign, offsetHour = '0', offsetMinute = '0'] = match.slice(7);
  if (hour > 23 || minute > 59 || second > 59 || Number(offsetHour) > 23 || Number(offsetMinute) > 59) return undefined;
  const local = new Date(Date.UTC(year, month - 1, day, hour, minute, second));
  // 31 April would roll over into May. (Date.UTC takes years below 100 as 19xx: refused here too.)
  if (local.getUTCFullYear() !== year || local.getUTCMonth() !== month - 1 || local.getUTCDate() !== day) return undefined;
  const offsetMs = (Number(offsetHour) * 60 + Number(offsetMinute)) * 60_000 * (sign === '-' ? -1 : 1);
  const ms = local.getTime() + Math.ceil(Number(fraction.padEnd(9, '0')) / 1e6) - offsetMs;
  return ms >= 0 && ms <= LAST_INSTANT_MS ? new Date(ms) : undefined;
}
