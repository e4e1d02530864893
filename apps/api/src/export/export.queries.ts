import { uuidv7Floor } from '@tallystick/persistence';
import type { Reader } from '../database/database.js';
import type { TimeRange } from '../http/time-range.js';
import { type MessagesFilter, tenantsOf } from '../messages/messages.queries.js';
import type { ExportRow } from './export-format.js';

/** Rows that are in memory at once. */
const FETCHED_ROWS = 500;
/** Larger payloads are read one by one: 500 of the largest would be 128 MB. */
const FETCHED_PAYLOAD_BYTES = 4 * 1024;

/** What is exported, name by name in the order of the file, with its SQL. */
export const MESSAGE_COLUMNS = {
  messageId: 'm.message_id',
  batchId: 'm.batch_id',
  leafIndex: 'm.leaf_index',
  tenantId: 'm.tenant_id',
  siteId: 'm.site_id',
  deviceId: 'm.device_id',
  topic: 'm.topic',
  receivedAt: 'm.received_at',
  processedAt: 'm.processed_at',
  deviceTimestamp: 'm.device_timestamp',
  deviceSeq: 'm.device_seq',
  deviceSignature: 'm.device_signature',
  qos: 'm.qos',
  retained: 'm.retained',
  packetId: 'm.packet_id',
  nonce: `encode(m.nonce, 'hex')`,
  messageHash: 'm.message_hash',
  payloadSize: 'm.payload_size',
  payload: `CASE WHEN m.payload_size <= ${FETCHED_PAYLOAD_BYTES} THEN m.payload END`,
};

export const EVENT_COLUMNS = {
  eventId: 'e.id',
  ts: 'e.ts',
  receivedAt: 'e.received_at',
  action: 'e.action',
  client: 'e.client',
  topic: 'e.topic',
  qos: 'e.qos',
  username: 'e.username',
  address: 'e.address',
  port: 'e.port',
  reason: 'e.reason',
  truncated: 'e.truncated',
  packetId: 'e.packet_id',
  lineCount: 'e.line_count',
  raw: 'e.raw',
};

export const METRIC_COLUMNS = { metric: 'v.metric', value: 'v.value', ts: 'v.ts' };

/** Oldest first. */
export async function* messageRows(read: Reader, filter: MessagesFilter): AsyncGenerator<ExportRow[]> {
  const tenants = await tenantsOf(read, filter);
  // As in the list: a device's own index has its messages by received_at, the partitions have all by message_id.
  const order = filter.deviceId === undefined ? 'm.message_id' : 'm.received_at, m.message_id';
  const batches = fetched(
    read,
    `SELECT ${select(MESSAGE_COLUMNS)} FROM messages m
     WHERE ($1::text IS NULL OR m.device_id = $1)
       AND ($2::text[] IS NULL OR m.tenant_id = ANY ($2))
       AND ($3::uuid IS NULL OR m.batch_id = $3)
       AND ($4::uuid IS NULL OR m.message_id >= $4)
       AND ($5::uuid IS NULL OR m.message_id < $5)
     ORDER BY ${order}`,
    [
      filter.deviceId,
      tenants,
      filter.batchId,
      filter.from && uuidv7Floor(filter.from.getTime()),
      filter.to && uuidv7Floor(filter.to.getTime()),
    ],
  );
  for await (const rows of batches) {
    let given = 0;
    for (const [at, row] of rows.entries()) {
      if (row.payload !== null) continue;
      const [large] = await read<{ payload: Buffer }>('SELECT payload FROM messages WHERE message_id = $1', [row.messageId]);
      yield [...rows.slice(given, at), { ...row, payload: large!.payload }];
      given = at + 1;
    }
    yield rows.slice(given);
  }
}

export interface EventsFilter extends TimeRange {
  action?: string;
  client?: string;
}

/** Oldest first. */
export function eventRows(read: Reader, broker: string, filter: EventsFilter): AsyncGenerator<ExportRow[]> {
  return fetched(
    read,
    `SELECT ${select(EVENT_COLUMNS)} FROM events e
     WHERE e.broker = $1
       AND ($2::text IS NULL OR e.action = $2)
       AND ($3::text IS NULL OR e.client = $3)
       AND ($4::timestamptz IS NULL OR e.ts >= $4)
       AND ($5::timestamptz IS NULL OR e.ts < $5)
     ORDER BY e.ts, e.id`,
    [broker, filter.action, filter.client, filter.from, filter.to],
  );
}

/** By metric, of each oldest first: that is how idx_broker_metrics_metric_ts has them. */
export function metricRows(read: Reader, broker: string, filter: TimeRange & { metric?: string }): AsyncGenerator<ExportRow[]> {
  return fetched(
    read,
    `SELECT ${select(METRIC_COLUMNS)} FROM broker_metrics v
     WHERE v.broker = $1
       AND ($2::text IS NULL OR v.metric = $2)
       AND ($3::timestamptz IS NULL OR v.ts >= $3)
       AND ($4::timestamptz IS NULL OR v.ts < $4)
     ORDER BY v.metric, v.ts, v.id`,
    [broker, filter.metric, filter.from, filter.to],
  );
}

/** Reads by a cursor, which lives as long as the transaction. The statement limit is that of each step. */
async function* fetched(read: Reader, sql: string, parameters: readonly unknown[]): AsyncGenerator<ExportRow[]> {
  await read(`DECLARE exported NO SCROLL CURSOR FOR ${sql}`, parameters);
  for (;;) {
    const rows = await read<ExportRow>(`FETCH ${FETCHED_ROWS} FROM exported`);
    if (rows.length === 0) return;
    yield rows;
  }
}

function select(columns: Record<string, string>): string {
  return Object.entries(columns)
    .map(([name, sql]) => `${sql} AS "${name}"`)
    .join(', ');
}
