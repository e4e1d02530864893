import { uuidv7Floor } from '@tallystick/persistence';
import { EVENT_COLUMNS, type EventsFilter } from '../brokers/events.queries.js';
import type { Reader } from '../database/database.js';
import { jsonTime, selected } from '../database/json-columns.js';
import type { TimeRange } from '../http/time-range.js';
import { type MessagesFilter, tenantsOf } from '../messages/messages.queries.js';

/** Rows that are in memory at once. */
const FETCHED_ROWS = 100;
/** Larger payloads are read one by one: 100 of the largest would be 26 MB, and more as text. */
const FETCHED_PAYLOAD_BYTES = 4 * 1024;

// PostgreSQL writes each row's JSON: as values of ours, a row would be twenty objects, and an export of many rows mostly garbage.
const base64 = (sql: string) => `translate(encode(${sql}, 'base64'), E'\\n', '')`;

/** What is exported, name by name in the order of the file, with its SQL. */
export const MESSAGE_COLUMNS = {
  messageId: 'm.message_id',
  batchId: 'm.batch_id',
  leafIndex: 'm.leaf_index',
  tenantId: 'm.tenant_id',
  siteId: 'm.site_id',
  deviceId: 'm.device_id',
  topic: 'm.topic',
  receivedAt: jsonTime('m.received_at'),
  processedAt: jsonTime('m.processed_at'),
  deviceTimestamp: jsonTime('m.device_timestamp'),
  deviceSeq: 'm.device_seq::text',
  deviceSignature: 'm.device_signature',
  qos: 'm.qos',
  retained: 'm.retained',
  packetId: 'm.packet_id',
  nonce: `encode(m.nonce, 'hex')`,
  messageHash: 'm.message_hash',
  payloadSize: 'm.payload_size',
  // The last one: that of a large message is put in afterwards.
  payload: `CASE WHEN m.payload_size <= ${FETCHED_PAYLOAD_BYTES} THEN ${base64('m.payload')} END`,
};
const NO_PAYLOAD = 'null}';

export const METRIC_COLUMNS = { metric: 'v.metric', value: 'v.value', ts: jsonTime('v.ts') };

/** Oldest first. */
export async function* messageRows(read: Reader, filter: MessagesFilter): AsyncGenerator<string[]> {
  const tenants = await tenantsOf(read, filter);
  // As in the list: a device's own index has its messages by received_at, the partitions have all by message_id.
  const order = filter.deviceId === undefined ? 'm.message_id' : 'm.received_at, m.message_id';
  const batches = fetched(
    read,
    MESSAGE_COLUMNS,
    `FROM messages m
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
      if (!row.endsWith(NO_PAYLOAD)) continue;
      yield [...rows.slice(given, at), await withPayload(read, row)];
      given = at + 1;
    }
    yield rows.slice(given);
  }
}

/** Oldest first. */
export function eventRows(read: Reader, broker: string, filter: EventsFilter): AsyncGenerator<string[]> {
  return fetched(
    read,
    EVENT_COLUMNS,
    `FROM events e
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
export function metricRows(read: Reader, broker: string, filter: TimeRange & { metric?: string }): AsyncGenerator<string[]> {
  return fetched(
    read,
    METRIC_COLUMNS,
    `FROM broker_metrics v
     WHERE v.broker = $1
       AND ($2::text IS NULL OR v.metric = $2)
       AND ($3::timestamptz IS NULL OR v.ts >= $3)
       AND ($4::timestamptz IS NULL OR v.ts < $4)
     ORDER BY v.metric, v.ts, v.id`,
    [broker, filter.metric, filter.from, filter.to],
  );
}

async function withPayload(read: Reader, row: string): Promise<string> {
  const { messageId } = JSON.parse(row) as { messageId: string };
  const [large] = await read<{ payload: string }>(`SELECT ${base64('payload')} AS payload FROM messages WHERE message_id = $1`, [
    messageId,
  ]);
  return `${row.slice(0, -NO_PAYLOAD.length)}"${large!.payload}"}`;
}

/** Rows as JSON, read by a cursor, which lives as long as the transaction. The statement limit is that of each step. */
async function* fetched(
  read: Reader,
  columns: Record<string, string>,
  rest: string,
  parameters: readonly unknown[],
): AsyncGenerator<string[]> {
  await read(
    `DECLARE exported NO SCROLL CURSOR FOR SELECT row_to_json(r)::text AS json FROM (SELECT ${selected(columns)} ${rest}) r`,
    parameters,
  );
  for (;;) {
    const rows = await read<{ json: string }>(`FETCH ${FETCHED_ROWS} FROM exported`);
    if (rows.length === 0) return;
    const lines = rows.map(({ json }) => json);
    // Emptied by hand, here and by the reader: old garbage that refers to young keeps it, and V8 would collect it 150 MB later.
    rows.length = 0;
    yield lines;
    lines.length = 0;
  }
}
