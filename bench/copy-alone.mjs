// The limit: rows of the bridge's COPY format, made before the clock starts, copied on one connection in commits of 1,000. No broker,
// no hashing, no batches to grow, no devices to count; foreign keys and indexes are the same. Speaks to the benchmark over IPC:
// `ready`, then on `go` the copying, then `done`.
import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { copyRow, MESSAGE_COLUMNS } from '../dist/apps/ingest-bridge/src/committing/copy-rows.js';
import { takeMessage } from '../dist/apps/ingest-bridge/src/intake/take-message.js';
import { telemetryMessage } from '../dist/apps/ingest-bridge/src/intake/telemetry-message.js';
import { parseTopicPattern } from '../dist/apps/ingest-bridge/src/intake/topic-pattern.js';
import { uuidv7 } from '../dist/libs/persistence/src/index.js';
import { identityOf, messageAt, TOPIC_FILTER } from './payloads.mjs';

const ROWS_PER_COMMIT = 1_000;
const DAY_MS = 24 * 3600 * 1000;
/** Receipts are dated as if 30 had come in each ms, as they do at full rate. */
const RECEIPTS_PER_MS = 30;
/** As long as PostgreSQL takes a root for: 32 bytes. */
const NO_ROOT = Buffer.alloc(32);

const [messages, devices] = [Number(process.env.MESSAGES), Number(process.env.DEVICES)];
const rules = { patterns: [parseTopicPattern(TOPIC_FILTER).pattern], payloadFormat: 'json', maxPayloadBytes: 262_144 };
const startMs = dayThatHolds(Date.now(), Math.ceil(messages / RECEIPTS_PER_MS));

const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
await client.connect();
const batchIds = Array.from({ length: Math.ceil(messages / ROWS_PER_COMMIT) }, () => uuidv7(startMs));
await insertParents();
const chunks = batchIds.map((batchId, batch) => chunkOf(batchId, batch * ROWS_PER_COMMIT));
const partition = `messages_${new Date(startMs).toISOString().slice(0, 10).replaceAll('-', '')}`;

process.send({ state: 'ready' });
await once(process, 'message');
const startedAtMs = Date.now();
for (const chunk of chunks) {
  await client.query('BEGIN');
  await pipeline([chunk], client.query(copyFrom(`COPY ${partition} (${MESSAGE_COLUMNS}) FROM STDIN`)));
  await client.query('COMMIT');
}
process.send({ state: 'done', startedAtMs });
// The connection keeps this process alive until the benchmark ends it: its backend's CPU time is still to be read.

async function insertParents() {
  await client.query(
    `INSERT INTO batches (batch_id, tenant_id, batch_hash, message_count, start_timestamp, end_timestamp, open_root, receiver)
     SELECT id, 'tenant-0001', encode($2::bytea, 'hex'), $3, now(), now(), $2, 'copy-alone' FROM unnest($1::uuid[]) AS id`,
    [batchIds, NO_ROOT, ROWS_PER_COMMIT],
  );
  const identities = Array.from({ length: devices }, (_, device) => identityOf(device, 1));
  await client.query(
    `INSERT INTO devices (tenant_id, site_id, device_id) SELECT * FROM unnest($1::text[], $2::text[], $3::text[])`,
    ['tenantId', 'siteId', 'deviceId'].map((name) => identities.map((identity) => identity[name])),
  );
}

function chunkOf(batchId, first) {
  const rows = [];
  for (let index = first; index < Math.min(first + ROWS_PER_COMMIT, messages); index++) {
    const { topic, payload } = messageAt(index, { devices, tenants: 1 });
    const packet = {
      topic,
      payload: Buffer.from(payload),
      qos: 1,
      retained: false,
      receivedAtMs: startMs + Math.floor(index / RECEIPTS_PER_MS),
      receipt: { packetId: (index % 65_535) + 1 },
    };
    const { content } = takeMessage(topic, packet.payload, rules);
    rows.push(copyRow({ message: telemetryMessage(packet, content), batchId, leafIndex: index - first }));
  }
  return Buffer.from(rows.join(''));
}

/** A time near `nowMs` from which `spanMs` do not cross midnight (UTC): all rows go into one partition. */
function dayThatHolds(nowMs, spanMs) {
  const untilMidnight = DAY_MS - (nowMs % DAY_MS);
  return untilMidnight > spanMs ? nowMs : nowMs - spanMs;
}
