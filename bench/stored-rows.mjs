// What a run left in the database.
import { setTimeout as sleep } from 'node:timers/promises';
import { expectedHashes } from './payloads.mjs';

const POLL_EVERY_MS = 200;
const QUIET_POLLS = 4;
/** WAL that a server without work may write between two polls (running transactions, a checkpoint record). */
const IDLE_WAL_BYTES = 16 * 1024;

/** Where the WAL ends, in bytes since its beginning. Costs the server next to nothing, so progress is watched by it. */
export async function walBytes(sql) {
  const { rows } = await sql.query(`SELECT pg_current_wal_insert_lsn() - '0/0' AS bytes`);
  return Number(rows[0].bytes);
}

export async function countRows(sql) {
  const { rows } = await sql.query('SELECT count(*)::int AS rows FROM messages');
  return rows[0].rows;
}

/**
 * Resolves with the number of rows when `expected` are there, or when no row has come for `patienceMs`. Rows are counted only
 * while next to no WAL is written: counting would take CPU from the contestant. Throws after `limitMs`, or when `check` does.
 */
export async function untilStored(sql, { expected, patienceMs, limitMs, check }) {
  const startedAt = Date.now();
  let [wal, quietPolls, count, countedUpAt] = [await walBytes(sql), 0, 0, Date.now()];
  for (;;) {
    await sleep(POLL_EVERY_MS);
    check();
    const walNow = await walBytes(sql);
    quietPolls = walNow - wal < IDLE_WAL_BYTES ? quietPolls + 1 : 0;
    wal = walNow;
    if (quietPolls === 0) countedUpAt = Date.now();
    if (quietPolls > 0 && quietPolls % QUIET_POLLS === 0) {
      const countNow = await countRows(sql);
      if (countNow > count) countedUpAt = Date.now();
      count = countNow;
      if (count >= expected || Date.now() - countedUpAt > patienceMs) return count;
    }
    if (Date.now() - startedAt > limitMs)
      throw new Error(`not done within ${limitMs / 1000} s: ${await countRows(sql)} of ${expected} rows`);
  }
}

/** Rows, the first receipt and the last commit in Unix ms, and bytes of table and indexes. */
export async function timesAndSizes(sql) {
  const { rows } = await sql.query(`
    SELECT count(*)::int AS rows, extract(epoch FROM min(received_at)) * 1000 AS first_ms,
           extract(epoch FROM max(pg_xact_commit_timestamp(xmin))) * 1000 AS last_ms,
           (SELECT count(*)::int FROM rejected_messages) AS rejected
    FROM messages`);
  const [{ rows: count, first_ms, last_ms, rejected }] = rows;
  return { rows: count, firstReceivedMs: Number(first_ms), lastCommitMs: Number(last_ms), rejected, bytes: await messagesBytes(sql) };
}

/** Bytes of messages with its indexes, all partitions. */
export async function messagesBytes(sql) {
  const { rows } = await sql.query(`SELECT sum(pg_total_relation_size(relid)) AS bytes FROM pg_partition_tree('messages') WHERE isleaf`);
  return Number(rows[0].bytes);
}

/** Compares every stored hash with the payloads that were published: how many are missing, and how many rows are too many. */
export async function lostAndDoubled(sql, /** @type {number} */ messages, /** @type {number} */ devices) {
  const { rows } = await sql.query(`
    SELECT message_hash AS hash, count(*)::int AS rows, bool_and(message_hash = encode(sha256(payload), 'hex')) AS is_true
    FROM messages GROUP BY message_hash`);
  const expected = expectedHashes(messages, devices);
  const isWrong = (row) => !row.is_true || !expected.has(row.hash);
  return {
    lost: messages - rows.filter((row) => expected.has(row.hash)).length,
    doubled: rows.reduce((sum, row) => sum + row.rows - 1, 0),
    wrong: rows.filter(isWrong).length,
  };
}
