// What the API is asked about: a few days of telemetry, a broker's history and its metrics, made by SQL. Every batch verifies.
import { hash } from 'node:crypto';
import { createApiKey, SCOPES } from '../dist/libs/access/src/index.js';
import { HASH_SIZE_BYTES, rootOf } from '../dist/libs/hashing/src/index.js';
import { createDataSource, MetricRollUps } from '../dist/libs/persistence/src/index.js';
import { BROKER, makeHistory } from './history-rows.mjs';

const TENANTS = 10;
/** One of them. */
export const TENANT_ID = 'tenant-03';
const DEVICES = 1_000;
const SITES = 20;
const BATCH_MESSAGES = 1_000;
const REJECTIONS = 20_000;
/** Older than the API's default of 24 hours, so that a list has to leave rows out. */
const TELEMETRY_HOURS = 60;
const PORTION_MESSAGES = 50_000;
const METRICS = 60;
/** What Mosquitto's $SYS does. */
const METRIC_EVERY_S = 10;
const METRIC_HOURS = 24;
/** METRICS_RAW_DAYS. */
const METRIC_DAYS_KEPT = 7;
const HOUR_MS = 3_600_000;

/** The n-th message of all: devices in an order that mixes sites, tenants in turn, each tenant's messages in batches one after another. */
const MESSAGE = `
  LATERAL (SELECT n % ${DEVICES} * 7919 % ${DEVICES} AS device, n % ${TENANTS} AS tenant, n / ${TENANTS} / ${BATCH_MESSAGES} AS batch,
             n / ${TENANTS} % ${BATCH_MESSAGES} AS leaf, $1::timestamptz + n * $2::interval AS at) m`;
const TENANT = `'tenant-' || lpad(tenant::text, 2, '0')`;
const SITE_ID = `'site-' || lpad((device / ${DEVICES / SITES})::text, 2, '0')`;
const DEVICE_ID = `'METER_' || lpad(device::text, 6, '0')`;
const BATCH_ID = `(left(uuidv7_floor($1::timestamptz)::text, 14) || '7000-8000-' || lpad(to_hex(batch * ${TENANTS} + tenant), 12, '0'))::uuid`;

/** About 500 bytes, as a three-phase meter sends them; no two are equal. */
const PAYLOAD = `
  format('{"deviceId":"%s","timestamp":%s,"seq":%s,"kwh":%s,"power":%s,"reactive_power":1184.2,"frequency":49.987,"temperature":%s,', ${DEVICE_ID},
    extract(epoch FROM at)::bigint, n / ${DEVICES}, 182000 + n * 0.013, 9400 + n % 977, 20 + n % 17 * 0.5)
  || '"l1":{"voltage":231.4,"current":17.91,"power_factor":0.912,"thd":3.88},"l2":{"voltage":229.8,"current":18.24,"power_factor":0.907,"thd":4.11},'
  || '"l3":{"voltage":230.1,"current":18.02,"power_factor":0.921,"thd":3.97},"metadata":{"firmware_version":"2.1.0","signal_strength":-65,'
  || format('"model":"EM-340","line":"press-shop-%s","shift":"early","order":"A-%s"}}', n % 9, n)`;

/** A leaf of docs/formats.md: the canonical JSON of an unsigned message behind U+0000. */
const LEAF = `sha256('\\x00'::bytea || convert_to(format(
  '{"device_id":"%s","message_hash":"%s","message_id":"%s","nonce":"%s","payload_size":%s,"received_at":%s,"topic":"%s","type":"telemetry.message/v1"}',
  device_id, message_hash, message_id, encode(nonce, 'hex'), payload_size, (extract(epoch FROM received_at) * 1000)::bigint, topic), 'UTF8'))`;

/**
 * Fills a migrated database: `messages` up to now with their batches, devices and rejections; `events` with the sessions of `clients`
 * (history-rows.mjs); metrics, rolled up as the watcher does. Gives examples to ask for.
 */
export async function makeRows({ sql, url }, { messages, events, clients }, progress) {
  const to = new Date();
  const from = new Date(to.getTime() - TELEMETRY_HOURS * HOUR_MS);
  await makeTelemetry(sql, { from, to, messages }, progress);
  await makeHistory(sql, { events, sessions: Math.floor(events / 6), clients, subscriptions: 2 * clients }, progress);
  progress('metrics');
  await makeMetrics(sql, url);
  await sql.query('VACUUM (ANALYZE)');
  // What the fill has left to write is not to be written while we measure.
  await sql.query('CHECKPOINT');
  return { from, to };
}

async function makeTelemetry(sql, { from, to, messages }, progress) {
  const step = `${Math.floor((TELEMETRY_HOURS * HOUR_MS) / messages)} milliseconds`;
  await sql.query('SELECT ensure_partitions($1, $2)', [from, to]);
  await sql.query(
    `INSERT INTO devices (tenant_id, device_id, site_id, last_seen, message_count, created_at)
     SELECT ${TENANT}, ${DEVICE_ID}, ${SITE_ID}, $2, $3::int / ${DEVICES}, $1::timestamptz + n * interval '1 second'
     FROM generate_series(0, ${DEVICES - 1}) n, LATERAL (SELECT n % ${DEVICES} * 7919 % ${DEVICES} AS device, n % ${TENANTS} AS tenant) d`,
    [from, to, messages],
  );
  await sql.query(
    `INSERT INTO batches (batch_id, tenant_id, batch_hash, message_count, start_timestamp, end_timestamp, created_at, open_root, receiver)
     SELECT ${BATCH_ID}, ${TENANT}, repeat('0', 64), count(*), min(at), max(at), min(at), sha256(''), 'bridge-1'
     FROM generate_series(0, $3::int - 1) n, ${MESSAGE}
     GROUP BY batch, tenant`,
    [from, step, messages],
  );
  // Foreign keys would be looked up two million times, and hold by construction.
  await sql.query(`SET session_replication_role = replica`);
  for (let first = 0; first < messages; first += PORTION_MESSAGES) {
    if (first % (4 * PORTION_MESSAGES) === 0) progress(`messages, ${first} of ${messages}`);
    await sql.query(
      `INSERT INTO messages (message_id, batch_id, leaf_index, tenant_id, site_id, device_id, topic, message_hash, raw_data, payload, payload_size,
                             nonce, received_at, processed_at, device_timestamp, device_seq, qos, retained, packet_id)
       SELECT (left(uuidv7_floor(at)::text, 14) || '7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, ${BATCH_ID}, leaf, ${TENANT}, ${SITE_ID},
         ${DEVICE_ID}, 'veep/' || ${TENANT} || '/' || ${SITE_ID} || '/' || ${DEVICE_ID} || '/data', encode(sha256(payload), 'hex'), text::jsonb,
         payload, octet_length(payload), decode(md5(n::text), 'hex'), at, at + interval '5 ms', at - interval '40 ms', n / ${DEVICES}, 1, false, n % 65535 + 1
       FROM generate_series($3::int, $4::int - 1) n, ${MESSAGE}, LATERAL (SELECT ${PAYLOAD} AS text) t, LATERAL (SELECT convert_to(text, 'UTF8') AS payload) p`,
      [from, step, first, Math.min(messages, first + PORTION_MESSAGES)],
    );
  }
  await sql.query(`RESET session_replication_role`);
  progress('batches');
  await sql.query('ANALYZE messages');
  await sealBatches(sql);
  await sql.query(
    `INSERT INTO rejected_messages (rejection_id, received_at, tenant_id, topic, payload, payload_size, payload_hash, reason, receiver, qos)
     SELECT (left(uuidv7_floor(at)::text, 14) || '7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, at, CASE WHEN n % 3 > 0 THEN ${TENANT} END,
       'veep/x/y/z/data', 'no JSON', 7, encode(sha256('no JSON'), 'hex'), CASE WHEN n % 100 = 57 THEN 'too_deep' ELSE 'not_json' END, 'bridge-1', 1
     FROM generate_series(0, ${REJECTIONS - 1}) n,
       LATERAL (SELECT $1::timestamptz + n * $2::interval AS at, n % ${TENANTS} AS tenant) r`,
    [from, `${(TELEMETRY_HOURS * HOUR_MS) / REJECTIONS} milliseconds`],
  );
}

/** With their roots; the last of each tenant stays open. */
async function sealBatches(sql) {
  const { rows } = await sql.query(
    `SELECT batch_id, row_number() OVER (PARTITION BY tenant_id ORDER BY start_timestamp DESC) = 1 AS is_open FROM batches`,
  );
  for (const { batch_id, is_open } of rows) {
    const { rows: leaves } = await sql.query(
      `SELECT string_agg(${LEAF}, ''::bytea ORDER BY leaf_index) AS bytes FROM messages WHERE batch_id = $1`,
      [batch_id],
    );
    const root = rootOf(split(leaves[0].bytes), (bytes) => hash('sha256', bytes, 'buffer'));
    await sql.query(
      is_open
        ? `UPDATE batches SET open_root = $2 WHERE batch_id = $1 AND $3::bytea IS NOT NULL`
        : `UPDATE batches SET open_root = $2, batch_hash = encode($2, 'hex'), leaf_hashes = $3, status = 'complete', sealed_at = end_timestamp,
             close_reason = 'size' WHERE batch_id = $1`,
      [batch_id, root, leaves[0].bytes],
    );
  }
}

function split(bytes) {
  return Array.from({ length: bytes.length / HASH_SIZE_BYTES }, (_, at) =>
    bytes.subarray(at * HASH_SIZE_BYTES, (at + 1) * HASH_SIZE_BYTES),
  );
}

async function makeMetrics(sql, url) {
  const untilMs = Math.floor(Date.now() / 1_000) * 1_000;
  const from = new Date(untilMs - METRIC_HOURS * HOUR_MS);
  await sql.query('SELECT ensure_history_partitions($1, $2)', [from, new Date(untilMs)]);
  await sql.query(
    `INSERT INTO broker_metrics (broker, metric, value, ts)
     SELECT $1, metric, CASE WHEN metric = 'uptime' THEN n * ${METRIC_EVERY_S} ELSE 1000 + n * 7919 % 997 END, $2::timestamptz + n * interval '${METRIC_EVERY_S} s'
     FROM generate_series(0, ${(METRIC_HOURS * 3_600) / METRIC_EVERY_S}) n,
       (SELECT CASE k WHEN 0 THEN 'uptime' WHEN 1 THEN 'clients/connected' ELSE 'messages/kind-' || k END AS metric FROM generate_series(0, ${METRICS - 1}) k) m`,
    [BROKER, from],
  );
  const dataSource = await createDataSource(url, { poolSize: 1, applicationName: 'bench' }).initialize();
  const rollUps = new MetricRollUps({ dataSource });
  while ((await rollUps.rollUpNext(BROKER, untilMs)) === 'more');
  // The history has made a day of values for each of its own, far more than the watcher keeps.
  while (await rollUps.dropOldestDay(METRIC_DAYS_KEPT));
  await dataSource.destroy();
}

/** A key of the platform, or of one tenant, that may all that such a key may. */
export async function makeKey(sql, tenantId, scopes = SCOPES) {
  const run = async (text, values = []) => (await sql.query(text, [...values])).rows;
  const { key } = await createApiKey(run, { label: 'bench', tenantId, scopes, expiresAt: null }, { name: 'bench' });
  return key;
}
