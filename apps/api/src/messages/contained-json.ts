/** Longest text of a JSON filter. */
const MAX_BYTES = 2_048;

/**
 * What is wrong with a JSON text that messages are to contain; undefined when nothing is. Without a value in it (`{}`, `{"a":[]}`)
 * an index has nothing to look up, and nearly every message would fit.
 */
export function containedJsonFault(text: string): string | undefined {
  if (Buffer.byteLength(text) > MAX_BYTES) return `must have at most ${MAX_BYTES} bytes`;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'must be JSON, such as {"deviceId":"SENSOR_001"}';
  }
  if (typeof value !== 'object' || value === null) return 'must be a JSON object or array';
  return holdsValue(value) ? undefined : 'must hold a value to look for';
}

/** At most as deep as its text is long. */
function holdsValue(value: unknown): boolean {
  return typeof value !== 'object' || value === null || Object.values(value).some(holdsValue);
}
