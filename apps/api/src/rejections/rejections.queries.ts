import type { RejectionReason, RejectionStatus } from '@tallystick/persistence';
import type { Reader } from '../database/database.js';
import type { ListRequest, Page } from '../http/list.js';
import type { TimeRange } from '../http/time-range.js';
import type { RejectionSummary } from './rejections.dto.js';

/** A page ends before its topics get larger than this: strangers choose them, and each may have 64 KiB. */
const PAGE_BYTES = 4 * 1024 * 1024;

const SUMMARY = `
  r.rejection_id AS "rejectionId", r.received_at AS "receivedAt", r.tenant_id AS "tenantId", r.topic, r.reason, r.detail,
  r.payload_size AS "payloadSize", r.payload_hash AS "payloadHash", r.truncated, r.receiver, r.qos, r.packet_id AS "packetId",
  r.status, r.resolved_at AS "resolvedAt", r.replayed_as AS "replayedAs"`;

export interface RejectionsFilter extends TimeRange {
  status?: RejectionStatus;
  reason?: RejectionReason;
  tenantId?: string;
}

/** Newest first: by idx_rejected_messages_received_at, or of one tenant by idx_rejected_messages_tenant. */
export async function listRejections(read: Reader, filter: RejectionsFilter, list: ListRequest): Promise<Page<RejectionSummary>> {
  const [receivedAtMs, rejectionId] = list.after ?? [];
  const rows = await read<RejectionSummary & { found: number }>(
    `SELECT ${SUMMARY}, r.found
     FROM (
       SELECT r.*, count(*) OVER ()::int AS found,
         sum(octet_length(r.topic)) OVER (ORDER BY r.received_at DESC, r.rejection_id DESC) - octet_length(r.topic) AS bytes_before
       FROM (
         SELECT r.* FROM rejected_messages r
         WHERE ($1::text IS NULL OR r.status = $1)
           AND ($2::text IS NULL OR r.reason = $2)
           AND ($3::text IS NULL OR r.tenant_id = $3)
           AND ($4::text IS NULL OR r.tenant_id = $4)
           AND ($5::timestamptz IS NULL OR r.received_at >= $5)
           AND ($6::timestamptz IS NULL OR r.received_at < $6)
           AND ($7::timestamptz IS NULL OR (r.received_at, r.rejection_id) < ($7, $8::uuid))
         ORDER BY r.received_at DESC, r.rejection_id DESC
         LIMIT $9
       ) r
     ) r
     WHERE r.bytes_before < ${PAGE_BYTES}
     ORDER BY r.received_at DESC, r.rejection_id DESC`,
    [
      filter.status,
      filter.reason,
      filter.tenantId,
      read.tenantId,
      filter.from,
      filter.to,
      receivedAtMs === undefined ? undefined : new Date(Number(receivedAtMs)),
      rejectionId,
      list.limit + 1,
    ],
  );
  const shown = rows.slice(0, list.limit).map((row) => ({ ...row, found: undefined }));
  const more = (rows[0]?.found ?? 0) > shown.length;
  return list.page<RejectionSummary>(shown, (row) => [String(row.receivedAt.getTime()), row.rejectionId], more);
}

export async function findRejection(read: Reader, rejectionId: string): Promise<RejectionSummary | undefined> {
  const rows = await read<RejectionSummary>(
    `SELECT ${SUMMARY} FROM rejected_messages r WHERE r.rejection_id = $1::uuid AND ($2::text IS NULL OR r.tenant_id = $2)`,
    [rejectionId, read.tenantId],
  );
  return rows[0];
}

/** The bytes that were kept: all, or the first ones. */
export async function findRejectedPayload(read: Reader, rejectionId: string): Promise<Buffer | undefined> {
  const rows = await read<{ payload: Buffer }>(
    `SELECT r.payload FROM rejected_messages r WHERE r.rejection_id = $1::uuid AND ($2::text IS NULL OR r.tenant_id = $2)`,
    [rejectionId, read.tenantId],
  );
  return rows[0]?.payload;
}

/**
 * Marks a rejection as discarded if it is new or waits for its replay; else undefined. Of two that do it at once one gets it; a bridge
 * that is storing it is waited for, and then it is replayed and no longer to be discarded.
 */
export async function discardRejection(run: Reader, rejectionId: string): Promise<RejectionSummary | undefined> {
  const rows = await run<RejectionSummary>(
    `UPDATE rejected_messages r SET status = 'discarded', resolved_at = now()
     WHERE r.rejection_id = $1::uuid AND r.status IN ('new', 'replay_requested') AND ($2::text IS NULL OR r.tenant_id = $2)
     RETURNING ${SUMMARY}`,
    [rejectionId, run.tenantId],
  );
  return rows[0];
}

/** Asks for the replay of a new rejection; undefined when there is none of this id that is new and was kept whole. */
export async function requestReplay(run: Reader, rejectionId: string): Promise<RejectionSummary | undefined> {
  const rows = await run<RejectionSummary>(
    `UPDATE rejected_messages r SET status = 'replay_requested'
     WHERE r.rejection_id = $1::uuid AND r.status = 'new' AND NOT r.truncated AND ($2::text IS NULL OR r.tenant_id = $2)
     RETURNING ${SUMMARY}`,
    [rejectionId, run.tenantId],
  );
  return rows[0];
}
