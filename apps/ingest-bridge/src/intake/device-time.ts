/** Numbers below this are seconds (until the year 5138), others milliseconds (since 1973). */
const SECONDS_BELOW = 1e11;
const LATEST_MS = Date.UTC(9999, 11, 31, 23, 59, 59, 999);
const RFC3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

/**
 * Unix time in ms of a payload's `timestamp`: Unix seconds or milliseconds, or RFC 3339 text (section 5.6). Undefined when it
 * cannot be a time: another type, negative, behind the year 9999, or text without an offset.
 */
export function deviceTimeMs(value: unknown): number | undefined {
  if (typeof value === 'number') {
    const ms = Math.trunc(value < SECONDS_BELOW ? value * 1000 : value);
    return value >= 0 && ms <= LATEST_MS ? ms : undefined;
  }
  return typeof value === 'string' && value.length <= 64 ? rfc3339Ms(value) : undefined;
}

function rfc3339Ms(text: string): number | undefined {
  const parts = RFC3339.exec(text);
  if (!parts) return undefined;
  const [year, month, day, hour, minute, second] = parts.slice(1, 7).map(Number) as [number, number, number, number, number, number];
  const fractionMs = Math.trunc(Number(`0.${parts[7] ?? '0'}`) * 1000);
  const offsetMinutes = (parts[8] === '-' ? -1 : 1) * (Number(parts[9] ?? 0) * 60 + Number(parts[10] ?? 0));
  if (hour > 23 || minute > 59 || second > 60 || Number(parts[9] ?? 0) > 23 || Number(parts[10] ?? 0) > 59) return undefined;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return undefined;
  const ms = date.getTime() + ((hour * 60 + minute - offsetMinutes) * 60 + second) * 1000 + fractionMs;
  return ms >= 0 && ms <= LATEST_MS ? ms : undefined;
}
