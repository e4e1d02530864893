import type { PlannedMessage } from '../batching/commit-plan.js';

export const MESSAGE_COLUMNS =
  'batch_id, leaf_index, message_id, tenant_id, site_id, device_id, topic, message_hash, raw_data, raw_data_error, payload, payload_size, nonce, received_at, device_timestamp, qos, retained, packet_id';

/** One line of COPY text format (PostgreSQL manual, COPY, "Text Format"), in the order of MESSAGE_COLUMNS. */
export function copyRow({ message, batchId, leafIndex }: PlannedMessage): string {
  return (
    `${batchId}\t${leafIndex}\t${message.messageId}\t${copyText(message.tenantId)}\t${copyText(message.siteId)}\t${copyText(message.deviceId)}\t` +
    `${copyText(message.topic)}\t${message.messageHash}\t${copyText(message.rawData)}\t${copyText(message.rawDataError)}\t` +
    `\\\\x${message.payload.toString('hex')}\t${message.payload.length}\t\\\\x${message.nonce}\t${receiptText(message.receivedAtMs)}\t` +
    `${message.deviceTimestampMs === null ? '\\N' : timeText(message.deviceTimestampMs)}\t${message.qos}\t${message.retained ? 't' : 'f'}\t` +
    `${message.receipt?.packetId ?? '\\N'}\n`
  );
}

const SPECIAL = /[\\\n\r\t]/;
const ESCAPES: Record<string, string> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function copyText(text: string | null): string {
  if (text === null) return '\\N';
  return SPECIAL.test(text) ? text.replace(/[\\\n\r\t]/g, (character) => ESCAPES[character]!) : text;
}

function timeText(unixMs: number): string {
  return new Date(unixMs).toISOString();
}

const lastReceipt = { unixMs: NaN, text: '' };

/** Messages come many to a millisecond, so the last text is kept. */
function receiptText(unixMs: number): string {
  if (unixMs !== lastReceipt.unixMs) Object.assign(lastReceipt, { unixMs, text: timeText(unixMs) });
  return lastReceipt.text;
}
