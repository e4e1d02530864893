import { pipeline } from 'node:stream/promises';
import { Injectable } from '@nestjs/common';
import { BEGIN_LIMITED, DatabaseConnection, inTransaction } from '@tallystick/persistence';
import { escapeLiteral, type PoolClient } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import {
  type BatchChange,
  type CommitPlan,
  deviceKey,
  type DeviceGain,
  type PlannedMessage,
  type ReplayOutcome,
} from '../batching/commit-plan.js';
import { DeviceRegistry } from '../devices/device-registry.js';
import { IngestBridgeConfig } from '../ingest-bridge.config.js';
import type { Rejection, TelemetryMessage } from '../intake/telemetry-message.js';
import { Receiver } from '../slots/receiver.js';
import type { AdmissionQueries } from './admission.js';
import { BatchTakenError, ReplayTakenError } from './commit-error.js';
import { copyRow, MESSAGE_COLUMNS } from './copy-rows.js';
import type { PlanStore } from './writer-lane.js';

const ROWS_PER_CHUNK = 50;
const DAY_MS = 24 * 3600 * 1000;
/** Beyond this a quarantined payload keeps its first bytes only. */
export const QUARANTINE_PAYLOAD_BYTES = 256 * 1024;

/** The only writer of devices' counters, batches, messages, rejected_messages and deduplication_keys. */
@Injectable()
export class TelemetryRepository implements AdmissionQueries, PlanStore {
  private readonly devices = new DeviceRegistry();
  /** Starts every commit, and refuses it when another process has taken our place. */
  private begin = BEGIN_LIMITED;

  constructor(
    private readonly connection: DatabaseConnection,
    private readonly config: IngestBridgeConfig,
    private readonly receiver: Receiver,
  ) {}

  /**
   * Takes the place of every earlier process with our client id. Once this resolves none of their commits is under way, and none
   * will succeed: what the database holds is all that they stored. Throws while one of them does not end: a connection that waited
   * for it longer than we do would go on waiting in the server, and every try would leave one more.
   */
  async beginEpoch(): Promise<void> {
    const { clientId } = this.receiver;
    const begun = await inTransaction(
      this.connection.dataSource,
      (client) => client.query<{ epoch: string }>(`SELECT begin_receiver_epoch($1) AS epoch`, [clientId]),
      BEGIN_LIMITED,
    );
    this.begin = `${BEGIN_LIMITED}; SELECT assert_receiver_epoch(${escapeLiteral(clientId)}, ${begun.rows[0]!.epoch})`;
  }

  /** Throws, with the code that means `replaced`, when another process has taken our place. */
  async assertEpoch(): Promise<void> {
    await inTransaction(this.connection.dataSource, () => Promise.resolve(), this.begin);
  }

  /**
   * The one transaction. Either all of the plan is stored or nothing is; throws BatchTakenError when a batch is no longer ours,
   * ReplayTakenError when a rejection no longer waits for its replay, else what PostgreSQL said. After an error out of COMMIT the plan may
   * have landed: `hasLanded` tells.
   */
  async commit(plan: CommitPlan): Promise<void> {
    await inTransaction(
      this.connection.dataSource,
      async (client) => {
        // First: where another writer has one of the messages, this waits for the end of its transaction, and fails if it commits.
        if (plan.keyHashes.length > 0) await insertKeys(client, plan.keyHashes);
        const unknown = this.devices.unknown(plan.devices);
        if (unknown.length > 0) await insertDevices(client, unknown);
        await this.insertBatches(
          client,
          plan.changes.filter((change) => change.messagesBefore === 0),
        );
        await copyMessages(client, plan.messages);
        await updateBatches(
          client,
          plan.changes.filter((change) => change.messagesBefore > 0),
        );
        if (plan.rejections.length > 0) await this.insertRejections(client, plan.rejections);
        // Waits for nobody, so it follows what does: where an earlier try of this plan is still under way, that has ended by now.
        if (plan.replays.length > 0) await settleReplays(client, plan.replays);
        // Last: these rows are locked until COMMIT, and first they cost a third of the throughput.
        if (plan.devices.length > 0) await countMessages(client, plan.devices);
        // COMMIT follows here. Only after it may a message of the plan be acknowledged.
      },
      this.begin,
    );
    this.devices.remember(plan.devices);
  }

  /** Whether a plan whose commit failed is in the database after all. All of it is, or nothing: one row tells. */
  async hasLanded({ messages, rejections, changes, replays }: CommitPlan): Promise<boolean> {
    if (messages[0]) return this.exists(`SELECT 1 FROM messages WHERE message_id = $1`, [messages[0].message.messageId]);
    if (rejections[0]) return this.exists(`SELECT 1 FROM rejected_messages WHERE rejection_id = $1`, [rejections[0].rejectionId]);
    const [change] = changes;
    if (change) {
      const values = [change.batch.batchId, change.batch.messageCount];
      return this.exists(`SELECT 1 FROM batches WHERE batch_id = $1 AND message_count = $2 AND status = 'complete'`, values);
    }
    // Replays that were refused leave no row of their own; whoever decided about them, nothing is left to do once none waits.
    const waits = `SELECT 1 FROM rejected_messages WHERE rejection_id = ANY($1) AND status = 'replay_requested' LIMIT 1`;
    return !(await this.exists(waits, [replays.map(({ rejectionId }) => rejectionId)]));
  }

  async findStoredKeys(keyHashes: readonly string[]): Promise<ReadonlySet<string>> {
    const rows = await this.connection.dataSource.query<{ keyHash: string }[]>(
      `SELECT encode(key_hash, 'hex') AS "keyHash" FROM deduplication_keys WHERE key_hash = ANY($1::bytea[])`,
      [keyHashes.map(bytes)],
    );
    return new Set(rows.map((row) => row.keyHash));
  }

  /** Forgets up to `most` deduplication keys that are older than `keepHours`; how many it were. */
  async forgetKeys(keepHours: number, most: number): Promise<number> {
    const rows = await this.connection.dataSource.query<{ forgotten: number }[]>(`SELECT forget_deduplication_keys($1, $2) AS forgotten`, [
      keepHours,
      most,
    ]);
    return rows[0]!.forgotten;
  }

  async findStored(candidates: readonly (TelemetryMessage | Rejection)[]): Promise<ReadonlySet<TelemetryMessage | Rejection>> {
    const hashes = candidates.map((candidate) => ('messageHash' in candidate ? candidate.messageHash : candidate.payloadHash));
    const rows = await this.connection.dataSource.query<{ topic: string; hash: string }[]>(
      `SELECT topic, message_hash AS hash FROM messages WHERE message_hash = ANY($1)
       UNION SELECT topic, payload_hash FROM rejected_messages WHERE payload_hash = ANY($1)`,
      [hashes],
    );
    const stored = new Set(rows.map(({ topic, hash }) => `${hash} ${topic}`));
    return new Set(candidates.filter((candidate, index) => stored.has(`${hashes[index]} ${candidate.topic}`)));
  }

  async findNewDevices(messages: readonly TelemetryMessage[]): Promise<ReadonlySet<string>> {
    const unknown = this.devices.unknown(messages);
    if (unknown.length === 0) return new Set();
    const rows = await this.connection.dataSource.query<{ tenantId: string; deviceId: string }[]>(
      `SELECT tenant_id AS "tenantId", device_id AS "deviceId" FROM devices JOIN unnest($1::text[], $2::text[]) AS u (tenant_id, device_id) USING (tenant_id, device_id)`,
      [unknown.map((device) => device.tenantId), unknown.map((device) => device.deviceId)],
    );
    this.devices.remember(rows);
    return new Set(this.devices.unknown(unknown).map((device) => deviceKey(device.tenantId, device.deviceId)));
  }

  forgetDevices(): void {
    this.devices.forgetAll();
  }

  /**
   * Makes the day partitions that cover a span of Unix ms. Safe to call from any number of writers at any time. Throws when it would
   * have to wait long for its lock (for a VACUUM, say): every commit of every bridge waits behind it.
   */
  async ensurePartitions(fromMs: number, toMs: number): Promise<string[]> {
    const values = [new Date(fromMs), new Date(toMs), this.config.messagesJsonIndex === 'live'];
    const made = await inTransaction(
      this.connection.dataSource,
      (client) => client.query<{ name: string }>(`SELECT name FROM ensure_partitions($1, $2, $3) AS name`, values),
      BEGIN_LIMITED,
    );
    return made.rows.map((row) => row.name);
  }

  private async exists(sql: string, values: unknown[]): Promise<boolean> {
    return (await this.connection.dataSource.query<unknown[]>(sql, values)).length > 0;
  }

  private async insertBatches(client: PoolClient, changes: BatchChange[]): Promise<void> {
    if (changes.length === 0) return;
    await client.query({
      name: 'insert-batches',
      text: `INSERT INTO batches (batch_id, tenant_id, batch_hash, message_count, start_timestamp, end_timestamp, open_root, receiver,
                                  status, close_reason, leaf_hashes, sealed_at)
             SELECT batch_id, tenant_id, encode(root, 'hex'), message_count, start_timestamp, end_timestamp, root, $9,
                    CASE WHEN close_reason IS NULL THEN 'pending' ELSE 'complete' END, close_reason, leaf_hashes,
                    CASE WHEN close_reason IS NULL THEN NULL ELSE now() END
             FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::int[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::bytea[])
               AS b (batch_id, tenant_id, root, message_count, start_timestamp, end_timestamp, close_reason, leaf_hashes)`,
      values: [...batchColumns(changes), this.receiver.clientId],
    });
  }

  private async insertRejections(client: PoolClient, rejections: readonly Rejection[]): Promise<void> {
    const kept = rejections.map((rejection) => rejection.payload.subarray(0, QUARANTINE_PAYLOAD_BYTES));
    await client.query({
      name: 'insert-rejections',
      text: `INSERT INTO rejected_messages (rejection_id, received_at, tenant_id, topic, payload, payload_size, truncated, payload_hash,
                                            reason, detail, qos, packet_id, receiver)
             SELECT r.*, $13 FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::bytea[], $6::int[], $7::bool[], $8::text[],
                                         $9::text[], $10::text[], $11::smallint[], $12::int[]) AS r`,
      values: [
        rejections.map((rejection) => rejection.rejectionId),
        rejections.map((rejection) => new Date(rejection.receivedAtMs)),
        rejections.map((rejection) => rejection.tenantId),
        rejections.map((rejection) => rejection.topic.replaceAll('\0', '\ufffd')),
        kept,
        rejections.map((rejection) => rejection.payload.length),
        rejections.map((rejection, index) => kept[index]!.length < rejection.payload.length),
        rejections.map((rejection) => rejection.payloadHash),
        rejections.map((rejection) => rejection.reason),
        rejections.map((rejection) => rejection.detail),
        rejections.map((rejection) => rejection.qos),
        rejections.map((rejection) => rejection.receipt?.packetId ?? null),
        this.receiver.clientId,
      ],
    });
  }
}

function bytes(hex: string): Buffer {
  return Buffer.from(hex, 'hex');
}

/** Without ON CONFLICT: a key that is taken must fail the whole plan, whose batches count on every message of it. */
async function insertKeys(client: PoolClient, keyHashes: readonly string[]): Promise<void> {
  await client.query({
    name: 'insert-keys',
    text: `INSERT INTO deduplication_keys (key_hash) SELECT * FROM unnest($1::bytea[])`,
    values: [keyHashes.map(bytes)],
  });
}

/** batch_id, tenant_id, root, message_count, start, end, close_reason, leaf_hashes: an array each. */
function batchColumns(changes: BatchChange[]): unknown[] {
  return [
    changes.map(({ batch }) => batch.batchId),
    changes.map(({ batch }) => batch.tenantId),
    changes.map(({ batch }) => Buffer.from(batch.root())),
    changes.map(({ batch }) => batch.messageCount),
    changes.map(({ batch }) => new Date(batch.startMs)),
    changes.map(({ batch }) => new Date(batch.endMs)),
    changes.map(({ closeReason }) => closeReason ?? null),
    changes.map(({ batch, closeReason }) => (closeReason ? batch.joinedLeafHashes() : null)),
  ];
}

/** Grows or seals pending batches. The guard on the count before is what makes a late or lost writer harmless. */
async function updateBatches(client: PoolClient, changes: BatchChange[]): Promise<void> {
  if (changes.length === 0) return;
  const updated = await client.query<{ batch_id: string }>({
    name: 'update-batches',
    text: `UPDATE batches b SET message_count = n.message_count, start_timestamp = n.start_timestamp, end_timestamp = n.end_timestamp,
             open_root = n.root, close_reason = n.close_reason, leaf_hashes = n.leaf_hashes,
             status = CASE WHEN n.close_reason IS NULL THEN 'pending' ELSE 'complete' END,
             sealed_at = CASE WHEN n.close_reason IS NULL THEN NULL ELSE now() END,
             batch_hash = CASE WHEN n.close_reason IS NULL THEN b.batch_hash ELSE encode(n.root, 'hex') END
           FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::int[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::bytea[], $9::int[])
             AS n (batch_id, tenant_id, root, message_count, start_timestamp, end_timestamp, close_reason, leaf_hashes, messages_before)
           WHERE b.batch_id = n.batch_id AND b.status = 'pending' AND b.message_count = n.messages_before
           RETURNING b.batch_id`,
    values: [...batchColumns(changes), changes.map((change) => change.messagesBefore)],
  });
  if (updated.rowCount === changes.length) return;
  const ours = new Set(updated.rows.map((row) => row.batch_id));
  throw new BatchTakenError(changes.map(({ batch }) => batch.batchId).filter((batchId) => !ours.has(batchId)));
}

/** COPY straight into the day partition that a message_id names: routing is cheaper, and COPY into a parent fails under row-level security. */
async function copyMessages(client: PoolClient, messages: readonly PlannedMessage[]): Promise<void> {
  for (const [partition, planned] of byPartition(messages)) {
    await pipeline(copyChunks(planned), client.query(copyFrom(`COPY ${partition} (${MESSAGE_COLUMNS}) FROM STDIN`)));
  }
}

/** Rows in pieces that PostgreSQL reads while the next ones are made, and that the memory never holds all at once. */
function* copyChunks(planned: readonly PlannedMessage[]): Generator<string> {
  for (let at = 0; at < planned.length; at += ROWS_PER_CHUNK)
    yield planned
      .slice(at, at + ROWS_PER_CHUNK)
      .map(copyRow)
      .join('');
}

function byPartition(messages: readonly PlannedMessage[]): Map<string, PlannedMessage[]> {
  const partitions = new Map<number, PlannedMessage[]>();
  for (const planned of messages) {
    const day = Math.floor(planned.message.receivedAtMs / DAY_MS);
    const sameDay = partitions.get(day);
    if (sameDay) sameDay.push(planned);
    else partitions.set(day, [planned]);
  }
  return new Map(
    [...partitions].map(([day, planned]) => [`messages_${new Date(day * DAY_MS).toISOString().slice(0, 10).replaceAll('-', '')}`, planned]),
  );
}

async function insertDevices(client: PoolClient, gains: readonly DeviceGain[]): Promise<void> {
  await client.query({
    name: 'insert-devices',
    text: `INSERT INTO devices (tenant_id, device_id, site_id, firmware_version)
           SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) ON CONFLICT DO NOTHING`,
    values: [
      gains.map((gain) => gain.tenantId),
      gains.map((gain) => gain.deviceId),
      gains.map((gain) => gain.siteId),
      gains.map((gain) => gain.firmwareVersion),
    ],
  });
}

/** An upsert keeps the order of its input, which an UPDATE … FROM does not: locks are taken in key order. */
async function countMessages(client: PoolClient, gains: readonly DeviceGain[]): Promise<void> {
  await client.query({
    name: 'count-messages',
    text: `INSERT INTO devices AS d (tenant_id, device_id, site_id, message_count, last_seen, firmware_version)
           SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::timestamptz[], $6::text[])
           ON CONFLICT (tenant_id, device_id) DO UPDATE SET
             site_id = excluded.site_id,
             message_count = d.message_count + excluded.message_count,
             last_seen = greatest(d.last_seen, excluded.last_seen),
             firmware_version = coalesce(excluded.firmware_version, d.firmware_version),
             updated_at = now()`,
    values: [
      gains.map((gain) => gain.tenantId),
      gains.map((gain) => gain.deviceId),
      gains.map((gain) => gain.siteId),
      gains.map((gain) => gain.messages),
      gains.map((gain) => new Date(gain.lastSeenMs)),
      gains.map((gain) => gain.firmwareVersion),
    ],
  });
}

/**
 * Writes down what became of rejections that were taken again, in the transaction that stores them. The guard on the status is what
 * stores each once: of two bridges, or of a bridge and a discard, one finds it requested. SKIP LOCKED: messages that come now share this
 * transaction, and do not wait for whoever else is deciding.
 */
async function settleReplays(client: PoolClient, replays: readonly ReplayOutcome[]): Promise<void> {
  const settled = await client.query<{ rejection_id: string }>({
    name: 'settle-replays',
    text: `WITH requested AS MATERIALIZED (
             SELECT rejection_id FROM rejected_messages WHERE rejection_id = ANY($1::uuid[]) AND status = 'replay_requested'
             FOR UPDATE SKIP LOCKED
           )
           UPDATE rejected_messages r SET
             status = CASE WHEN o.message_id IS NULL THEN 'new' ELSE 'replayed' END,
             resolved_at = CASE WHEN o.message_id IS NULL THEN NULL ELSE now() END,
             replayed_as = o.message_id,
             reason = coalesce(o.reason, r.reason),
             detail = coalesce(o.detail, r.detail),
             tenant_id = coalesce(o.tenant_id, r.tenant_id)
           FROM requested JOIN unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[])
             AS o (rejection_id, message_id, reason, detail, tenant_id) USING (rejection_id)
           WHERE r.rejection_id = requested.rejection_id
           RETURNING r.rejection_id`,
    values: [
      replays.map((replay) => replay.rejectionId),
      replays.map((replay) => replay.messageId),
      replays.map((replay) => replay.reason),
      replays.map((replay) => replay.detail),
      replays.map((replay) => replay.tenantId),
    ],
  });
  if (settled.rowCount === replays.length) return;
  const ours = new Set(settled.rows.map((row) => row.rejection_id));
  throw new ReplayTakenError(replays.map(({ rejectionId }) => rejectionId).filter((rejectionId) => !ours.has(rejectionId)));
}
