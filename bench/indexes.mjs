// `npm run bench:indexes`: what each index of `messages` costs COPY, and what it gives the queries that it is there for.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { describeMachine } from './machine.mjs';
import { decimal, machineLines, median, spread, table, whole, withSpread } from './report.mjs';
import { freshDatabase, startServers } from './servers.mjs';
import { copyRun, throughputRun } from './throughput-run.mjs';

const TIMES_ASKED = 11;

/** Drops an index that every partition has under a name of its own. */
const dropOfPartitions = (suffix) =>
  `DO $$ DECLARE name text; BEGIN
     FOR name IN SELECT indexname FROM pg_indexes WHERE indexname LIKE 'messages\\_2%\\_${suffix}' LOOP EXECUTE 'DROP INDEX ' || name; END LOOP;
   END $$`;
/** How many kB of new entries the JSON index gathers before a commit sorts them in; 0: none. */
const gathering = (kilobytes) =>
  `DO $$ DECLARE name text; BEGIN
     FOR name IN SELECT indexname FROM pg_indexes WHERE indexname LIKE 'messages\\_2%\\_raw_data' LOOP
       EXECUTE 'ALTER INDEX ' || name || ' SET (${kilobytes === 0 ? 'fastupdate = off' : `gin_pending_list_limit = ${kilobytes}`})';
     END LOOP;
   END $$`;
const WITHOUT = {
  device: ['DROP INDEX idx_messages_device_id'],
  tenant: ['DROP INDEX idx_messages_tenant'],
  time: ['DROP INDEX idx_messages_received_at'],
  hash: ['DROP INDEX idx_messages_hash'],
  batch: [dropOfPartitions('batch_leaf')],
  json: [dropOfPartitions('raw_data')],
  references: ['ALTER TABLE messages DROP CONSTRAINT fk_batch', 'ALTER TABLE messages DROP CONSTRAINT fk_device'],
};
const BTREE_ON_TIME = [...WITHOUT.time, 'CREATE INDEX idx_messages_received_at ON messages (received_at)'];

const VARIANTS = [
  { label: 'as delivered, JSON index off', jsonIndex: 'off', schemaChanges: [] },
  { label: 'without (tenant_id, device_id, received_at)', jsonIndex: 'off', schemaChanges: WITHOUT.device },
  { label: 'without (tenant_id, message_id, site_id)', jsonIndex: 'off', schemaChanges: WITHOUT.tenant },
  { label: 'without received_at (BRIN)', jsonIndex: 'off', schemaChanges: WITHOUT.time },
  { label: 'received_at as btree', jsonIndex: 'off', schemaChanges: BTREE_ON_TIME },
  { label: 'without message_hash', jsonIndex: 'off', schemaChanges: WITHOUT.hash },
  { label: 'without (batch_id, leaf_index)', jsonIndex: 'off', schemaChanges: WITHOUT.batch },
  { label: 'without foreign keys', jsonIndex: 'off', schemaChanges: WITHOUT.references },
  {
    label: 'primary key alone',
    jsonIndex: 'off',
    schemaChanges: [WITHOUT.device, WITHOUT.tenant, WITHOUT.time, WITHOUT.hash, WITHOUT.batch, WITHOUT.references].flat(),
  },
  { label: 'as delivered, JSON index live (jsonb_path_ops)', jsonIndex: 'live', schemaChanges: [] },
  { label: 'JSON index that gathers 4 MB (PostgreSQL default)', jsonIndex: 'live', schemaChanges: [gathering(4096)] },
  { label: 'JSON index that gathers 512 kB', jsonIndex: 'live', schemaChanges: [gathering(512)] },
  { label: 'JSON index that gathers nothing', jsonIndex: 'live', schemaChanges: [gathering(0)] },
  {
    label: 'JSON index as jsonb_ops',
    jsonIndex: 'off',
    schemaChanges: ['CREATE INDEX idx_messages_raw_data ON messages USING gin (raw_data) WITH (gin_pending_list_limit = 1024)'],
  },
].map((variant, index) => ({ ...variant, id: `variant-${index}`, tenants: 1, processes: 0 }));

const SHORT_SPAN = `received_at >= $1 AND received_at < $1 + interval '10 ms'`;
/** What people ask, with the values of a message that is there. */
const QUERIES = [
  {
    ask: 'the last 100 messages of a device',
    index: 'device',
    clauses: 'tenant_id = $1 AND device_id = $2 ORDER BY received_at DESC LIMIT 100',
    values: (row) => [row.tenant_id, row.device_id],
  },
  {
    ask: 'the last 100 messages of a site',
    index: 'tenant',
    clauses: 'tenant_id = $1 AND site_id = $2 ORDER BY tenant_id DESC, message_id DESC LIMIT 100',
    values: (row) => [row.tenant_id, row.site_id],
  },
  { ask: '10 ms of received_at (BRIN)', index: 'time', clauses: SHORT_SPAN, values: (row) => [row.received_at] },
  {
    ask: '10 ms of received_at (btree)',
    index: 'time',
    schemaChanges: BTREE_ON_TIME,
    clauses: SHORT_SPAN,
    values: (row) => [row.received_at],
  },
  { ask: 'a payload by its hash', index: 'hash', clauses: 'message_hash = $1', values: (row) => [row.message_hash] },
  { ask: 'a batch in leaf order', index: 'batch', clauses: 'batch_id = $1 ORDER BY leaf_index', values: (row) => [row.batch_id] },
  { ask: 'a value in the payload (@>)', index: 'json', clauses: 'raw_data @> $1', values: (row) => [JSON.stringify({ seq: row.seq })] },
];

const { values: options } = parseArgs({
  options: {
    messages: { type: 'string', default: '100000' },
    repeat: { type: 'string', default: '3' },
    json: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  console.log('npm run bench:indexes -- [--messages 100000] [--repeat 3] [--json FILE]');
  process.exit(0);
}
const [messages, repeat] = [options.messages, options.repeat].map(Number);
if ([messages, repeat].some((value) => !Number.isInteger(value) || value < 1)) {
  console.error('--messages and --repeat must be whole numbers above 0');
  process.exit(64);
}
const size = { messages, devices: 1_000 };
const progress = (line) => console.error(`${new Date().toISOString().slice(11, 19)} ${line}`);

const servers = await startServers();
try {
  const machine = await describeMachine(servers);
  const results = VARIANTS.map((variant) => ({ ...variant, runs: [] }));
  for (let round = 1; round <= repeat; round++) {
    for (const result of results) {
      progress(`${result.label}, run ${round}`);
      result.runs.push(await throughputRun(servers, result, size));
    }
  }
  progress('queries');
  const queries = await timeQueries();
  console.log(`${machineLines(machine)}\n${messages} rows by COPY on one connection, ${repeat} runs each: medians\n`);
  console.log(`${costTable(results)}\n\n${queryTable(queries)}`);
  if (options.json) writeFileSync(options.json, JSON.stringify({ machine, size, repeat, results, queries }, null, 2) + '\n');
} finally {
  await servers.stop();
}

/** Median ms of each query with its index and without, on one table with all of them. */
async function timeQueries() {
  const database = await freshDatabase(servers, 'live');
  try {
    (await copyRun({ servers, database, ...size })).sampler.stop();
    await database.sql.query('VACUUM ANALYZE messages');
    const { rows: examples } = await database.sql.query(
      `SELECT tenant_id, site_id, device_id, received_at, message_hash, batch_id, (raw_data ->> 'seq')::int AS seq
       FROM messages WHERE (raw_data ->> 'seq')::int % $1 = 0`,
      [Math.max(1, Math.floor(messages / TIMES_ASKED))],
    );
    const times = [];
    for (const { ask, index, schemaChanges = [], clauses, values } of QUERIES) {
      const text = `EXPLAIN (ANALYZE, FORMAT JSON) SELECT message_id, payload FROM messages WHERE ${clauses}`;
      const timed = (changes) => medianMs(database.sql, changes, text, examples.map(values));
      times.push({ ask, withMs: await timed(schemaChanges), withoutMs: await timed(WITHOUT[index]) });
    }
    return times;
  } finally {
    await database.drop();
  }
}

/** In a transaction that is rolled back, so that the next query finds every index again. */
async function medianMs(sql, schemaChanges, text, questions) {
  await sql.query('BEGIN');
  for (const statement of schemaChanges) await sql.query(statement);
  const times = [];
  for (const values of questions) {
    const { rows } = await sql.query(text, values);
    times.push(rows[0]['QUERY PLAN'][0]['Execution Time']);
  }
  await sql.query('ROLLBACK');
  return median(times);
}

function costTable(results) {
  const head = ['messages with', 'rows/s (min–max)', 'of as delivered', 'PostgreSQL CPU µs/row', 'B/row', 'WAL B/row'];
  const [asDelivered] = results.map(summaryOf);
  const rows = results.map((result) => {
    const summary = summaryOf(result);
    return [
      result.label,
      withSpread(summary.rate),
      decimal(summary.rate.median / asDelivered.rate.median),
      decimal(summary.cpuMicros?.median, 1),
      whole(summary.bytes.median),
      whole(summary.walBytes.median),
    ];
  });
  return table(head, rows);
}

function summaryOf({ runs }) {
  return {
    rate: spread(runs, (run) => run.rate),
    cpuMicros: spread(runs, (run) => run.cpuMicros?.postgres),
    bytes: spread(runs, (run) => run.bytesPerRow),
    walBytes: spread(runs, (run) => run.walBytesPerRow),
  };
}

function queryTable(queries) {
  const rows = queries.map(({ ask, withMs, withoutMs }) => [ask, decimal(withMs, 2), decimal(withoutMs, 2)]);
  return table([`asked of ${messages} rows, median ms`, 'with its index', 'without'], rows);
}
