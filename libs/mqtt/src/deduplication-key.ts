import type { IPublishPacket } from 'mqtt';

/**
 * The first value of a user property. One that identifies nothing counts as none, so that no message is taken for another: an empty
 * one, and one in which U+FFFD may stand for any bytes that were no UTF-8.
 */
export function deduplicationKeyOf({ properties }: IPublishPacket, property: string | undefined): string | undefined {
  if (property === undefined) return undefined;
  const values = properties?.userProperties?.[property];
  const key = Array.isArray(values) ? values[0] : values;
  return key === undefined || key === '' || key.includes('\ufffd') ? undefined : key;
}
