import { uuidv7Floor } from '@tallystick/persistence';
import type { Reader } from '../database/database.js';
import { type AlertFinding, counted } from './alert-finding.js';
import type { AlertSettings } from './alert.settings.js';

const DAY_MS = 86_400_000;
const MOST = 10_000;
const NAMED = 10;
/** `$SYS/broker/publish/messages/received` of Mosquitto: PUBLISH packets of clients. */
const RECEIVED = 'publish/messages/received';
/** A broker's count is published up to its `sys_interval` (10 s) after what it counts was stored. */
const COUNTED_WITHIN = `interval '60 seconds'`;

/** The two ways in which the database shows that ingest stands still. What it cannot show is in docs/alerts.md. */
export async function findStalledIngest(read: Reader, { pendingS, stallS }: AlertSettings): Promise<AlertFinding[]> {
  return [...(await findOverdueBatches(read, pendingS)), ...(stallS === 0 ? [] : await findUnstoredArrivals(read, stallS))];
}

/** A bridge seals by age, and any other bridge seals what a dead one has left: what is pending for longer has nobody. By idx_batches_status. */
async function findOverdueBatches(read: Reader, pendingS: number): Promise<AlertFinding[]> {
  const [row] = await read<{ batches: number; oldestAt: Date | null; receivers: string[] }>(
    `WITH overdue AS (
       SELECT receiver, created_at FROM batches WHERE status = 'pending' AND created_at < now() - $1 * interval '1 second' LIMIT ${MOST}
     )
     SELECT count(*)::int AS batches, min(created_at) AS "oldestAt",
       ARRAY (SELECT DISTINCT receiver::text FROM overdue ORDER BY 1 LIMIT ${NAMED}) AS receivers
     FROM overdue`,
    [pendingS],
  );
  const { batches, oldestAt, receivers } = row!;
  if (batches === 0) return [];
  return [
    {
      subject: 'batches',
      opens: true,
      level: 0,
      summary: `${counted(batches, ['batch is', 'batches are'], MOST)} pending for more than ${pendingS} s: no bridge seals them.`,
      details: { pending: batches, oldestAt, receivers, pendingS },
      path: '/api/v1/batches?status=pending',
    },
  ];
}

/**
 * Brokers whose count of received messages has gone on rising for `stallS` since something was last stored or quarantined. A single
 * message that is not for us does not do it. Each value is a change, because brokers publish changes only; the first one after the last
 * commit may still count what was committed, so it is none.
 */
async function findUnstoredArrivals(read: Reader, stallS: number): Promise<AlertFinding[]> {
  const [stored] = await read<{ at: Date | null }>(
    `SELECT greatest(
       (SELECT processed_at FROM messages WHERE message_id >= $1::uuid ORDER BY message_id DESC LIMIT 1),
       (SELECT created_at FROM batches ORDER BY created_at DESC LIMIT 1),
       (SELECT received_at FROM rejected_messages WHERE received_at <= now() ORDER BY received_at DESC, rejection_id DESC LIMIT 1)) AS at`,
    [uuidv7Floor(Date.now() - DAY_MS)],
  );
  // Nothing was ever stored: no bridge was ever meant to.
  if (!stored?.at) return [];
  const rows = await read<{ broker: string; received: number; lastAt: Date }>(
    `SELECT s.broker, arrivals.received, arrivals.last_at AS "lastAt"
     FROM broker_state s CROSS JOIN LATERAL (
       SELECT sum(rise) AS received, min(ts) AS first_at, max(ts) AS last_at
       FROM (
         SELECT ts, value - lag(value) OVER (ORDER BY ts, id) AS rise
         FROM broker_metrics
         WHERE broker = s.broker AND metric = '${RECEIVED}'
           AND ts > greatest($1::timestamptz + ${COUNTED_WITHIN}, now() - interval '1 day')
       ) v
       WHERE rise > 0
     ) arrivals
     WHERE arrivals.last_at - arrivals.first_at >= $2 * interval '1 second'
     ORDER BY s.broker`,
    [stored.at, stallS],
  );
  return rows.map(({ broker, received, lastAt }) => ({
    subject: `broker/${broker}`,
    opens: true,
    level: 0,
    summary: `The broker ${broker} receives messages, and none has been stored since ${stored.at!.toISOString()}.`,
    details: { broker, received, lastReceivedAt: lastAt, lastStoredAt: stored.at },
    path: `/api/v1/brokers/${encodeURIComponent(broker)}/diagnostics`,
  }));
}
