import type { Reader } from '../database/database.js';
import type { ListRequest, Page } from '../http/list.js';
import type { TimeRange } from '../http/time-range.js';
import type { BatchDetails, BatchSummary } from './batches.dto.js';

/** Columns of a summary. batch_hash is only the first commit's root until sealing, so it is not shown before. */
const SUMMARY = `
  b.batch_id AS "batchId", b.tenant_id AS "tenantId", b.status,
  CASE WHEN b.status NOT IN ('pending', 'hashing') THEN b.batch_hash END AS "batchHash",
  b.message_count AS "messageCount", b.start_timestamp AS "startTimestamp", b.end_timestamp AS "endTimestamp",
  b.created_at AS "createdAt", b.sealed_at AS "sealedAt", b.close_reason AS "closeReason", b.log_index AS "logIndex",
  CASE WHEN b.status = 'pending'
       THEN greatest(0, floor(extract(epoch FROM now() - b.start_timestamp) * 1000))::float8 END AS "ageMs"`;

export interface BatchesFilter extends TimeRange {
  status?: string;
  tenantId?: string;
}

/** Recent first; `status = pending` tells the age. */
export async function listBatches(read: Reader, filter: BatchesFilter, list: ListRequest): Promise<Page<BatchSummary>> {
  const [createdAtMs, batchId] = list.after ?? [];
  const rows = await read<BatchSummary>(
    `SELECT ${SUMMARY}
     FROM batches b
     WHERE ($1::text IS NULL OR b.status = $1)
       AND ($2::text IS NULL OR b.tenant_id = $2)
       AND ($3::timestamptz IS NULL OR b.created_at >= $3)
       AND ($4::timestamptz IS NULL OR b.created_at < $4)
       AND ($5::timestamptz IS NULL OR (b.created_at, b.batch_id) < ($5, $6::uuid))
       AND ($8::text IS NULL OR b.tenant_id = $8)
     ORDER BY b.created_at DESC, b.batch_id DESC
     LIMIT $7`,
    [
      filter.status,
      filter.tenantId,
      filter.from,
      filter.to,
      createdAtMs === undefined ? undefined : new Date(Number(createdAtMs)),
      batchId,
      list.limit + 1,
      read.tenantId,
    ],
  );
  return list.page(rows, (row) => [String(row.createdAt.getTime()), row.batchId]);
}

/** Details with what the rows say. All partitions are asked: a row that was moved in time still counts. */
export async function findBatch(read: Reader, batchId: string): Promise<BatchDetails | undefined> {
  const rows = await read<BatchDetails>(
    `SELECT ${SUMMARY},
       coalesce(m.message_count, 0)::int AS "actualMessageCount", coalesce(m.devices, '[]') AS devices,
       coalesce(m.size_bytes, 0)::text AS "sizeBytes",
       encode(b.open_root, 'hex') AS "openRoot", b.receiver,
       b.solana_tx_signature AS "solanaTxSignature", b.solana_block_number AS "solanaBlockNumber", b.confirmed_at AS "confirmedAt"
     FROM batches b
     CROSS JOIN LATERAL (
       SELECT sum(per_device.messages) AS message_count, sum(per_device.size_bytes) AS size_bytes,
         json_agg(json_build_object('deviceId', device_id, 'messageCount', messages) ORDER BY device_id) AS devices
       FROM (
         SELECT device_id, count(*)::int AS messages, sum(payload_size) AS size_bytes
         FROM messages WHERE batch_id = b.batch_id GROUP BY device_id
       ) per_device
     ) m
     WHERE b.batch_id = $1 AND ($2::text IS NULL OR b.tenant_id = $2)`,
    [batchId, read.tenantId],
    'once',
  );
  return rows[0];
}
