import { hash } from 'node:crypto';
import pg from 'pg';
import type { LedgerEntry } from './publisher-ledger.js';

/** What the database holds, held against a publisher's ledger. All but the first four are 0 when the record is whole. */
export interface Audit {
  acknowledged: number;
  stored: number;
  batches: number;
  /** Batches still filling; 0 once every bridge has stopped. */
  pending: number;
  /** Acknowledged to the publisher, without a row. */
  lost: number;
  /** Rows beyond the publishes of the same topic and payload, none at all included. */
  doubled: number;
  /** Rows whose `seq` is not above that of the row before of the same device: in batches as they were opened, by the database's clock. */
  outOfOrder: number;
  /** Batches whose rows do not give their root, count or leaf hashes. */
  unverified: number;
  /** Batches and devices that count other than their rows. */
  miscounted: number;
  /** Rows in another day's partition, under another tenant than their topic's, or with another hash or size than their payload's. */
  misplaced: number;
  failed: number;
}

export const WHOLE = { lost: 0, doubled: 0, outOfOrder: 0, unverified: 0, miscounted: 0, misplaced: 0, failed: 0 } as const;

/** Nothing here is shared with the bridge: SQL, RFC 6962 and docs/formats.md written a second time. */
export async function audit(url: string, ledger: readonly LedgerEntry[]): Promise<Audit> {
  return withSql(url, async (sql) => {
    // One snapshot for all: a bridge may be committing meanwhile.
    await sql.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    const [compared, unverified] = [await compare(sql, ledger, 'messages'), await countUnverified(sql)];
    const counts = await one<Omit<Audit, 'acknowledged' | 'unverified' | 'lost' | 'doubled'>>(sql, COUNTS);
    return { acknowledged: ledger.length, ...compared, unverified, ...counts };
  });
}

/** The quarantine held against the entries that belong there. */
export function auditQuarantine(url: string, expected: readonly LedgerEntry[]): Promise<{ lost: number; doubled: number }> {
  return withSql(url, (sql) => compare(sql, expected, 'rejected_messages'));
}

export async function countRows(url: string, table: 'messages' | 'rejected_messages' | 'batches' = 'messages'): Promise<number> {
  return (await withSql(url, (sql) => one<{ n: number }>(sql, `SELECT count(*)::int AS n FROM ${table}`))).n;
}

/** A digest of each sealed batch with its rows; those in `known` are not read again. */
export async function sealedDigests(url: string, known: ReadonlyMap<string, string> = new Map()): Promise<Map<string, string>> {
  const rows = await query<{ batch_id: string; digest: string }>(
    url,
    `SELECT batch_id, md5(b::text || (SELECT string_agg(m::text, '' ORDER BY leaf_index) FROM messages m WHERE m.batch_id = b.batch_id)) AS digest
     FROM batches b WHERE status <> 'pending' AND batch_id <> ALL ($1::uuid[])`,
    [[...known.keys()]],
  );
  return new Map([...known, ...rows.map(({ batch_id, digest }) => [batch_id, digest] as const)]);
}

/** On a connection of its own: the server may have been away since the last one. */
export function query<T>(url: string, text: string, values?: unknown[]): Promise<T[]> {
  return withSql(url, async (sql) => (await sql.query(text, values)).rows as T[]);
}

const COUNTS = `
  SELECT (SELECT count(*) FROM messages)::int AS stored,
    (SELECT count(*) FROM batches)::int AS batches,
    (SELECT count(*) FROM batches WHERE status = 'pending')::int AS pending,
    (SELECT count(*) FROM batches WHERE status = 'failed')::int AS failed,
    (SELECT count(*) FROM batches b FULL JOIN (SELECT batch_id, count(*) AS n FROM messages GROUP BY 1) m USING (batch_id)
     WHERE b.message_count IS DISTINCT FROM m.n)::int
    + (SELECT count(*) FROM devices d FULL JOIN (SELECT tenant_id, device_id, count(*) AS n FROM messages GROUP BY 1, 2) m
       USING (tenant_id, device_id) WHERE coalesce(d.message_count, -1) <> coalesce(m.n, 0))::int AS miscounted,
    (SELECT count(*) FROM messages m JOIN batches b USING (batch_id)
     WHERE m.tableoid::regclass::text <> 'messages_' || to_char(m.received_at AT TIME ZONE 'UTC', 'YYYYMMDD')
        OR split_part(topic, '/', 2) <> m.tenant_id OR b.tenant_id <> m.tenant_id
        OR split_part(topic, '/', 3) <> m.site_id OR split_part(topic, '/', 4) <> m.device_id
        OR message_hash <> encode(sha256(payload), 'hex') OR payload_size <> length(payload))::int AS misplaced,
    (SELECT count(*) FROM (
       SELECT (raw_data ->> 'seq')::int <= lag((raw_data ->> 'seq')::int)
                OVER (PARTITION BY topic ORDER BY b.created_at, batch_id, leaf_index) AS is_late
       FROM messages m JOIN batches b USING (batch_id) WHERE raw_data ? 'seq') o WHERE is_late)::int AS "outOfOrder"`;

async function compare(sql: pg.Client, entries: readonly LedgerEntry[], table: 'messages' | 'rejected_messages') {
  await sql.query('CREATE TEMP TABLE IF NOT EXISTS ledger (topic text, payload bytea); TRUNCATE ledger');
  for (let from = 0; from < entries.length; from += 5_000) {
    const some = entries.slice(from, from + 5_000);
    const columns = [some.map(({ topic }) => topic), some.map(({ payload }) => Buffer.from(payload as string))];
    await sql.query('INSERT INTO ledger SELECT * FROM unnest($1::text[], $2::bytea[])', columns);
  }
  return one<{ lost: number; doubled: number }>(
    sql,
    `WITH l AS (SELECT topic, payload, count(*) AS n FROM ledger GROUP BY 1, 2), r AS (SELECT topic, payload, count(*) AS n FROM ${table} GROUP BY 1, 2)
     SELECT coalesce(sum(greatest(coalesce(l.n, 0) - coalesce(r.n, 0), 0)), 0)::int AS lost,
            coalesce(sum(greatest(coalesce(r.n, 0) - coalesce(l.n, 0), 0)), 0)::int AS doubled
     FROM l FULL JOIN r USING (topic, payload)`,
  );
}

interface BatchRow {
  batch_id: string;
  batch_hash: string;
  status: string;
  message_count: number;
  open_root: Buffer;
  leaf_hashes: Buffer | null;
}

interface LeafRow {
  leaf_index: number;
  device_id: string;
  message_hash: string;
  message_id: string;
  nonce: string;
  payload_size: number;
  received_at: string;
  topic: string;
}

async function countUnverified(sql: pg.Client): Promise<number> {
  let unverified = 0;
  const { rows: batches } = await sql.query<BatchRow>(
    `SELECT batch_id, batch_hash, status, message_count, open_root, leaf_hashes FROM batches WHERE status <> 'failed'`,
  );
  for (const batch of batches) if (!(await verifies(sql, batch))) unverified += 1;
  return unverified;
}

/** Whether the rows give the root; of a pending batch too, because every COMMIT leaves root and rows in agreement. */
async function verifies(sql: pg.Client, batch: BatchRow): Promise<boolean> {
  const { rows } = await sql.query<LeafRow>(
    `SELECT leaf_index, device_id, message_hash, message_id, encode(nonce, 'hex') AS nonce, payload_size,
            (extract(epoch FROM received_at) * 1000)::bigint AS received_at, topic
     FROM messages WHERE batch_id = $1 ORDER BY leaf_index`,
    [batch.batch_id],
  );
  if (rows.length !== batch.message_count || rows.some((row, index) => row.leaf_index !== index)) return false;
  const leaves = rows.map(leafHash);
  const root = merkleRoot(leaves);
  if (!root.equals(batch.open_root)) return false;
  return batch.status === 'pending' || (batch.batch_hash === root.toString('hex') && Buffer.concat(leaves).equals(batch.leaf_hashes!));
}

/** telemetry.message/v1 of docs/formats.md behind the 0x00 of RFC 6962. */
function leafHash({ device_id, message_hash, message_id, nonce, payload_size, received_at, topic }: LeafRow): Buffer {
  const entry = {
    device_id,
    message_hash,
    message_id,
    nonce,
    payload_size,
    received_at: Number(received_at),
    topic,
    type: 'telemetry.message/v1',
  };
  return sha256(Buffer.from([0]), Buffer.from(JSON.stringify(entry)));
}

/** MTH of RFC 6962 section 2.1, as it is written there. */
function merkleRoot(leaves: Buffer[]): Buffer {
  if (leaves.length === 1) return leaves[0]!;
  const split = 2 ** (Math.ceil(Math.log2(leaves.length)) - 1);
  return sha256(Buffer.from([1]), merkleRoot(leaves.slice(0, split)), merkleRoot(leaves.slice(split)));
}

function sha256(...parts: Buffer[]): Buffer {
  return hash('sha256', Buffer.concat(parts), 'buffer');
}

async function one<T>(sql: pg.Client, text: string): Promise<T> {
  return (await sql.query(text)).rows[0] as T;
}

async function withSql<T>(url: string, use: (sql: pg.Client) => Promise<T>): Promise<T> {
  const sql = new pg.Client({ connectionString: url });
  sql.on('error', () => undefined); // a server that is stopped; the query that meets it reports it
  await sql.connect();
  try {
    return await use(sql);
  } finally {
    await sql.end().catch(() => undefined);
  }
}
