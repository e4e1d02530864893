import { createHash, randomBytes } from 'node:crypto';
import type pg from 'pg';

// Rows as the bridge leaves them, made here from the specification alone: nothing of the product's code is used.

export interface MessageRow {
  messageId: string;
  deviceId: string;
  topic: string;
  payload: Buffer;
  messageHash: string;
  receivedAt: Date;
  nonce: Buffer;
  leafHash: Buffer;
}

export interface BatchRow {
  batchId: string;
  tenantId: string;
  createdAt: Date;
  root: string;
  messages: MessageRow[];
}

export interface BatchOptions {
  tenantId?: string;
  deviceIds?: string[];
  payloads?: (string | Buffer)[];
  /** Receipt of the first message; the others follow a millisecond apart. */
  startAt?: Date;
  status?: 'pending' | 'complete';
}

const sha256 = (...parts: (string | Buffer)[]): Buffer => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();

/** RFC 6962 section 2.1: the left subtree has the largest power of two of leaves below n. */
function merkleRoot(leafHashes: Buffer[]): Buffer {
  if (leafHashes.length === 1) return leafHashes[0]!;
  let split = 1;
  while (split * 2 < leafHashes.length) split *= 2;
  return sha256('\x01', merkleRoot(leafHashes.slice(0, split)), merkleRoot(leafHashes.slice(split)));
}

export function uuidv7At(date: Date): string {
  const hex = date.getTime().toString(16).padStart(12, '0') + randomBytes(10).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-7${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** The leaf of a message that is not signed: canonical JSON (RFC 8785), its members sorted by name. */
function leafHash({ messageId, deviceId, topic, payload, messageHash, receivedAt, nonce }: Omit<MessageRow, 'leafHash'>): Buffer {
  const entry = JSON.stringify({
    device_id: deviceId,
    message_hash: messageHash,
    message_id: messageId,
    nonce: nonce.toString('hex'),
    payload_size: payload.length,
    received_at: receivedAt.getTime(),
    topic,
    type: 'telemetry.message/v1',
  });
  return sha256('\0', entry);
}

export function messageRow(tenantId: string, deviceId: string, payload: Buffer, receivedAt: Date): MessageRow {
  const row = {
    messageId: uuidv7At(receivedAt),
    deviceId,
    topic: `veep/${tenantId}/line1/${deviceId}/data`,
    payload,
    messageHash: sha256(payload).toString('hex'),
    receivedAt,
    nonce: randomBytes(16),
  };
  return { ...row, leafHash: leafHash(row) };
}

/** jsonb refuses what is not JSON, U+0000 included. */
function jsonOf(payload: Buffer): string | null {
  try {
    const text = payload.toString('utf8');
    JSON.parse(text);
    return text.includes('\\u0000') ? null : text;
  } catch {
    return null;
  }
}

export async function insertBatch(sql: pg.Client, options: BatchOptions = {}): Promise<BatchRow> {
  const { tenantId = 'factory1', deviceIds = ['SENSOR_001'], status = 'complete', startAt = new Date(Date.now() - 60_000) } = options;
  const payloads = options.payloads ?? [0, 1, 2].map((value) => JSON.stringify({ value, random: randomBytes(4).toString('hex') }));
  const messages = payloads.map((payload, at) =>
    messageRow(tenantId, deviceIds[at % deviceIds.length]!, Buffer.from(payload), new Date(startAt.getTime() + at)),
  );
  const leafHashes = messages.map((message) => message.leafHash);
  const batch = { batchId: uuidv7At(startAt), tenantId, createdAt: startAt, root: merkleRoot(leafHashes).toString('hex'), messages };
  const last = messages.at(-1)!.receivedAt;
  await sql.query('BEGIN');
  await sql.query('SELECT ensure_partitions($1, $2)', [startAt, last]);
  for (const deviceId of deviceIds) {
    await sql.query(
      `INSERT INTO devices (tenant_id, device_id, site_id, last_seen, message_count, created_at) VALUES ($1, $2, 'line1', $3, $4, $5)
       ON CONFLICT (tenant_id, device_id) DO UPDATE SET message_count = devices.message_count + $4`,
      [tenantId, deviceId, last, messages.filter((message) => message.deviceId === deviceId).length, startAt],
    );
  }
  const sealed = status === 'complete' ? [last, 'size', Buffer.concat(leafHashes)] : [null, null, null];
  await sql.query(
    `INSERT INTO batches (batch_id, tenant_id, batch_hash, message_count, start_timestamp, end_timestamp, status, created_at, open_root,
                          receiver, sealed_at, close_reason, leaf_hashes)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $5, $8, 'bridge-1', $9, $10, $11)`,
    [batch.batchId, tenantId, batch.root, messages.length, startAt, last, status, Buffer.from(batch.root, 'hex'), ...sealed],
  );
  for (const [leafIndex, message] of messages.entries()) await insertMessage(sql, batch, leafIndex, message);
  await sql.query('COMMIT');
  return batch;
}

export async function insertMessage(sql: pg.Client, batch: BatchRow, leafIndex: number, message: MessageRow): Promise<void> {
  const json = jsonOf(message.payload);
  await sql.query(
    `INSERT INTO messages (message_id, batch_id, leaf_index, tenant_id, site_id, device_id, topic, message_hash, raw_data, raw_data_error,
                           payload, payload_size, nonce, received_at, qos, retained, packet_id)
     VALUES ($1, $2, $3, $4, 'line1', $5, $6, $7, $8, $9, $10, $11, $12, $13, 1, false, 7)`,
    [
      message.messageId,
      batch.batchId,
      leafIndex,
      batch.tenantId,
      message.deviceId,
      message.topic,
      message.messageHash,
      json,
      json === null ? 'not JSON' : null,
      message.payload,
      message.payload.length,
      message.nonce,
      message.receivedAt,
    ],
  );
}

export interface RejectionOptions {
  tenantId?: string | null;
  topic?: string;
  payload?: string | Buffer;
  /** Size of a payload of which `payload` is the beginning. */
  wholeSize?: number;
  reason?: string;
  receivedAt?: Date;
}

/** A row of the quarantine; its id. */
export async function insertRejection(sql: pg.Client, options: RejectionOptions = {}): Promise<string> {
  const { tenantId = 'factory1', topic = 'veep/factory1/line1/SENSOR_001/data', reason = 'not_json', receivedAt = new Date() } = options;
  const payload = Buffer.from(options.payload ?? 'no JSON');
  const rejectionId = uuidv7At(receivedAt);
  await sql.query(
    `INSERT INTO rejected_messages (rejection_id, received_at, tenant_id, topic, payload, truncated, payload_size, payload_hash, reason, detail,
                                    receiver, qos, packet_id)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'in words', 'bridge-1', 1, 7)`,
    [
      rejectionId,
      receivedAt,
      tenantId,
      topic,
      payload,
      options.wholeSize !== undefined,
      options.wholeSize ?? payload.length,
      sha256(payload).toString('hex'),
      reason,
    ],
  );
  return rejectionId;
}

/**
 * Many messages of one batch that is still open, a millisecond apart, up to `endAt`. Their hashes and nonces are not real, and nothing
 * but the rows' form is checked.
 */
export async function fillMessages(
  sql: pg.Client,
  count: number,
  options: { tenantId?: string; payloadBytes?: number } = {},
): Promise<void> {
  const { tenantId = 'factory1', payloadBytes = 200 } = options;
  const startAt = new Date(Date.now() - count - 1_000);
  await sql.query(`BEGIN`);
  await sql.query(`SELECT set_config('session_replication_role', 'replica', true), ensure_partitions($1, now(), false)`, [startAt]);
  await sql.query(`INSERT INTO devices (tenant_id, device_id, site_id, last_seen) VALUES ($1, 'METER', 'line1', now())`, [tenantId]);
  const { rows } = await sql.query<{ id: string }>(
    `INSERT INTO batches (batch_id, tenant_id, batch_hash, message_count, start_timestamp, end_timestamp, status, created_at, open_root, receiver)
     VALUES (gen_random_uuid(), $1, repeat('0', 64), $2, $3, now(), 'pending', $3, decode(repeat('00', 32), 'hex'), 'bridge-1') RETURNING batch_id AS id`,
    [tenantId, count, startAt],
  );
  await sql.query(
    `INSERT INTO messages (message_id, batch_id, leaf_index, tenant_id, site_id, device_id, topic, message_hash, payload, payload_size, nonce,
                           received_at, qos, retained)
     SELECT (left(uuidv7_floor(at)::text, 14) || '7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, $1, n, $2::varchar, 'line1', 'METER',
       'veep/' || $2::varchar || '/line1/METER/data', repeat('0', 64), decode(repeat('78', $4::int), 'hex'), $4::int, decode(repeat('00', 16), 'hex'), at, 1, false
     FROM generate_series(0, $5::int - 1) n, LATERAL (SELECT $3::timestamptz + n * interval '1 millisecond' AS at) t`,
    [rows[0]!.id, tenantId, startAt, payloadBytes, count],
  );
  await sql.query(`COMMIT`);
}

/** As somebody who can alter rows; `$1` in `set` is the message's id. */
export async function alterMessage(sql: pg.Client, messageId: string, set: string, values: readonly unknown[]): Promise<void> {
  await sql.query(`UPDATE messages SET ${set} WHERE message_id = $1`, [messageId, ...values]);
}

/** Past the triggers that keep a sealed batch: whoever can alter rows can alter this too. `$1` in `set` is the batch's id. */
export async function alterBatch(sql: pg.Client, batchId: string, set: string, values: readonly unknown[]): Promise<void> {
  await sql.query('ALTER TABLE batches DISABLE TRIGGER ALL');
  await sql.query(`UPDATE batches SET ${set} WHERE batch_id = $1`, [batchId, ...values]);
  await sql.query('ALTER TABLE batches ENABLE TRIGGER ALL');
}

/** Payloads of five readings, no two alike. */
export const fiveReadings = (): string[] => [0, 1, 2, 3, 4].map((kwh) => JSON.stringify({ kwh, at: Math.random() }));
