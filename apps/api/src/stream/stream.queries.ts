import { uuidv7Floor } from '@tallystick/persistence';
import type { Reader } from '../database/database.js';
import { type SummaryRow, summary, summaryColumns } from '../messages/messages.queries.js';
import type { MessageSummary } from '../messages/messages.dto.js';
import type { StreamPosition } from './stream-position.js';

/** Of one look; when so many are found there may be more at once. */
export const MOST_ROWS = 2_000;
/** So that a look stays below 8 MB of payloads. */
export const STREAMED_PAYLOAD_BYTES = 4 * 1024;

/** What is committed by now and the position has not taken, in order of receipt. */
export async function newMessages(read: Reader, position: StreamPosition): Promise<MessageSummary[]> {
  const rows = await read<SummaryRow>(
    `SELECT ${summaryColumns(`m.payload_size <= ${STREAMED_PAYLOAD_BYTES}`)}
     FROM messages m
     WHERE m.message_id >= $1::uuid AND ($2::text IS NULL OR m.tenant_id = $2) AND m.message_id <> ALL ($3::uuid[])
     ORDER BY m.message_id LIMIT ${MOST_ROWS}`,
    [uuidv7Floor(position.fromMs), read.tenantId, position.takenIds],
  );
  return rows.map(summary);
}

/** All that is committed by now from the position on, by id. */
export async function messageIdsSince(read: Reader, position: StreamPosition): Promise<string[]> {
  const rows = await read<{ messageId: string }>(
    `SELECT m.message_id AS "messageId" FROM messages m WHERE m.message_id >= $1::uuid AND ($2::text IS NULL OR m.tenant_id = $2)`,
    [uuidv7Floor(position.fromMs), read.tenantId],
  );
  return rows.map((row) => row.messageId);
}
