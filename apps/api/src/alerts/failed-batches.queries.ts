import type { Reader } from '../database/database.js';
import { type AlertFinding, counted } from './alert-finding.js';

/** Counted no further: enough to know that it is a disaster. */
const MOST = 10_000;
const NAMED = 10;

interface Row {
  batches: number;
  failed: number;
  named: string[];
}

/** Batches marked `failed`, by idx_batches_status, and those whose last verification found differences. Neither ends by itself. */
export async function findFailedBatches(read: Reader): Promise<AlertFinding[]> {
  const [row] = await read<Row>(
    `WITH found AS (
       (SELECT batch_id, created_at, true AS failed FROM batches WHERE status = 'failed' LIMIT ${MOST})
       UNION ALL
       (SELECT batch_id, b.created_at, false FROM differing_batches JOIN batches b USING (batch_id) WHERE b.status <> 'failed' LIMIT ${MOST})
     )
     SELECT count(*)::int AS batches, (count(*) FILTER (WHERE failed))::int AS failed,
       ARRAY (SELECT batch_id::text FROM found ORDER BY created_at DESC, batch_id DESC LIMIT ${NAMED}) AS named
     FROM found`,
  );
  const { batches, failed, named } = row!;
  if (batches === 0) return [];
  return [
    {
      subject: 'batches',
      opens: true,
      level: batches,
      summary: `${counted(batches, ['batch does', 'batches do'], MOST)} not agree with the stored messages.`,
      details: { batches, failed, differing: batches - failed, newestBatchIds: named },
      path: `/api/v1/batches/${named[0]}`,
    },
  ];
}

/**
 * Keeps what a verification found: a batch that differs counts until it is verified again and nothing differs. Runs before the result
 * is answered, so that what somebody was told is also alerted.
 */
export async function recordVerification(run: Reader, batchId: string, isValid: boolean): Promise<void> {
  if (isValid) await run(`DELETE FROM differing_batches WHERE batch_id = $1::uuid`, [batchId]);
  else
    await run(`INSERT INTO differing_batches (batch_id) SELECT batch_id FROM batches WHERE batch_id = $1::uuid ON CONFLICT DO NOTHING`, [
      batchId,
    ]);
}
