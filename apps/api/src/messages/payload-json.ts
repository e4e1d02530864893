import { JsonText } from '../http/json-text.js';

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The payload's own JSON text; null when the bytes are no JSON. Not jsonb's text of it: that writes numbers out in full, so
 * that a payload of 256 KiB with 1e131071 in it many times over would become gigabytes.
 */
export function payloadJson(payload: Uint8Array): JsonText | null {
  try {
    const text = decoder.decode(payload);
    JSON.parse(text);
    return new JsonText(text);
  } catch {
    return null;
  }
}
