import { hash } from 'node:crypto';
import type { BatchStatus } from '@tallystick/persistence';
import type { Reader } from '../database/database.js';
import { isDataException } from '../database/database-errors.js';
import {
  type BatchVerification,
  type CheckedMessage,
  checkMessage,
  keepsLeaves,
  type MessageVerification,
  type StoredBatch,
  type StoredMessage,
  verifyBatch,
  verifyMessage,
} from './batch-verification.js';

/** Rows read at once: payloads are up to 256 KiB each and are needed only until they are hashed. */
const ROWS_AT_ONCE = 50;

const BATCH_COLUMNS = `status, tenant_id AS "tenantId", status NOT IN ('pending', 'hashing') AS "isSealed", batch_hash AS "batchHash",
  open_root AS "openRoot", message_count AS "messageCount", leaf_hashes AS "leafHashes"`;

const MESSAGE_COLUMNS = `message_id AS "messageId", leaf_index AS "leafIndex", tenant_id AS "tenantId", device_id AS "deviceId", topic,
  message_hash AS "messageHash", payload, payload_size AS "payloadSize", nonce, received_at AS "receivedAt",
  device_seq AS "deviceSeq", device_timestamp AS "deviceTimestamp", device_signature AS "deviceSignature"`;

/** Verifies a batch against its rows, all within the one snapshot of `read`; undefined when there is no such batch. */
export async function verifyStoredBatch(read: Reader, batchId: string): Promise<(BatchVerification & { status: BatchStatus }) | undefined> {
  const [batch] = await read<StoredBatch & { status: BatchStatus }>(
    `SELECT ${BATCH_COLUMNS} FROM batches WHERE batch_id = $1 AND ($2::text IS NULL OR tenant_id = $2)`,
    [batchId, read.tenantId],
  );
  if (!batch) return undefined;
  const messages = await checkedMessages(read, batchId);
  const verification = verifyBatch(batch, messages);
  const altered = await alteredRawData(read, batchId, messages);
  for (const { messageId, leafIndex } of altered) verification.differences.push({ reason: 'raw_data_altered', messageId, leafIndex });
  return { status: batch.status, ...verification, isValid: verification.isValid && altered.length === 0 };
}

export type StoredMessageVerification = MessageVerification & {
  messageId: string;
  batchId: string;
  batchStatus: BatchStatus;
  storedHash: string;
  calculatedHash: string;
  leafIndex: number;
};

/** Verifies a message against its bytes and its batch, all within the one snapshot of `read`; undefined when there is no such message. */
export async function verifyStoredMessage(read: Reader, messageId: string): Promise<StoredMessageVerification | undefined> {
  const [row] = await read<StoredMessage & { batchId: string }>(
    `SELECT batch_id AS "batchId", ${MESSAGE_COLUMNS} FROM messages WHERE message_id = $1::uuid AND ($2::text IS NULL OR tenant_id = $2)`,
    [messageId, read.tenantId],
  );
  if (!row) return undefined;
  const { batchId, leafIndex, messageHash } = row;
  const [batch] = await read<StoredBatch & { status: BatchStatus }>(`SELECT ${BATCH_COLUMNS} FROM batches WHERE batch_id = $1`, [batchId]);
  // A row that was moved into another tenant's batch: as `GET` has it, it is not there.
  if (!batch) return undefined;
  const message = checkMessage(row);
  const result = verifyMessage(batch, message, keepsLeaves(batch) ? [] : await checkedMessages(read, batchId));
  if ((await alteredRawData(read, batchId, [message])).length > 0) result.faults.push('raw_data_altered');
  return {
    ...{ messageId, batchId, batchStatus: batch.status },
    ...{ storedHash: messageHash, calculatedHash: hash('sha256', row.payload, 'hex'), leafIndex },
    ...result,
    isValid: result.isValid && result.faults.length === 0,
  };
}

/** Every row that carries the batch's id, in whatever partition. */
async function checkedMessages(read: Reader, batchId: string): Promise<CheckedMessage[]> {
  const checked: CheckedMessage[] = [];
  for (;;) {
    // (batch_id, leaf_index) is unique within a partition only: across days an added row may repeat an index.
    const last = checked.at(-1);
    const rows = await read<StoredMessage>(
      `SELECT ${MESSAGE_COLUMNS}
       FROM messages
       WHERE batch_id = $1 AND ($2::int IS NULL OR (leaf_index, message_id) > ($2, $3::uuid))
       ORDER BY leaf_index, message_id
       LIMIT $4`,
      [batchId, last?.leafIndex, last?.messageId, ROWS_AT_ONCE],
    );
    checked.push(...rows.map(checkMessage));
    if (rows.length < ROWS_AT_ONCE) return checked;
  }
}

/**
 * The messages whose searchable JSON is not what their payload says. It is in no leaf, being only a reading of the payload,
 * but it is what lists and searches show. Compared by PostgreSQL: its numbers are exact, ours are not.
 */
async function alteredRawData(read: Reader, batchId: string, messages: readonly CheckedMessage[]): Promise<CheckedMessage[]> {
  const intact = messages.filter((message) => message.isPayloadIntact);
  const ids = await attempt(read, () => alteredIds(read, batchId, intact.map(idOf)));
  if (ids) return intact.filter((message) => ids.has(message.messageId));
  // A payload that is no JSON has raw_data all the same: only an alteration makes that. Which one, shows row by row.
  const altered: CheckedMessage[] = [];
  for (const message of intact) {
    const found = await attempt(read, () => alteredIds(read, batchId, [idOf(message)]));
    if (!found || found.has(message.messageId)) altered.push(message);
  }
  return altered;
}

// The first condition on the ids lets few of them be found by their key; the CASE keeps others' payloads from being read as JSON whatever the plan.
async function alteredIds(read: Reader, batchId: string, messageIds: string[]): Promise<Set<string>> {
  const rows = await read<{ messageId: string }>(
    `SELECT message_id AS "messageId" FROM messages
     WHERE batch_id = $1 AND message_id = ANY ($2::uuid[]) AND CASE WHEN message_id = ANY ($2::uuid[]) THEN
       CASE WHEN raw_data IS NULL THEN raw_data_error IS NULL ELSE raw_data <> convert_from(payload, 'UTF8')::jsonb END
     END`,
    [batchId, messageIds],
  );
  return new Set(rows.map(idOf));
}

/** The result, or undefined when the data do not allow it; the transaction goes on in either case. */
async function attempt<T>(read: Reader, work: () => Promise<T>): Promise<T | undefined> {
  await read('SAVEPOINT attempt');
  try {
    return await work();
  } catch (error) {
    if (!isDataException(error)) throw error;
    await read('ROLLBACK TO SAVEPOINT attempt');
    return undefined;
  }
}

function idOf({ messageId }: { messageId: string }): string {
  return messageId;
}
