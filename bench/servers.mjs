// One durable PostgreSQL and one Mosquitto for all runs, with data folders of their own that go with them.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { startEmbeddedPostgres, startMosquitto } from '../dist/libs/embedded/src/index.js';
import { createDataSource, migrate } from '../dist/libs/persistence/src/index.js';

const TEMPLATE = 'bench_template';
/** Every step has a limit of its own; this is for what nobody thought of. */
const LONGEST_MS = 3 * 3_600_000;
const DAY_MS = 24 * 3600 * 1000;

/** @typedef {Awaited<ReturnType<typeof startServers>>} Servers */

/**
 * Starts both; `stop` ends them and removes their files. `within` is the folder for the data: the disk that is measured;
 * `brokerLines` go into mosquitto.conf, `settings` are PostgreSQL's in place of those of `npm start`.
 */
export async function startServers({ withDatabase = true, within = tmpdir(), brokerLines = [], settings = {} } = {}) {
  const dir = mkdtempSync(join(within, 'tallystick-bench-'));
  // However we end: the servers end with this process (libs/embedded), their files here.
  const removeFiles = () => {
    try {
      rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
    } catch (error) {
      console.error(`${dir} could not be removed: ${error.message}`);
    }
  };
  process.once('exit', removeFiles);
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));
  const overdue = () => {
    console.error(`not done within ${LONGEST_MS / 3_600_000} hours: ended`);
    process.exit(1);
  };
  setTimeout(overdue, LONGEST_MS).unref();
  const postgres = withDatabase ? await startPostgres(join(dir, 'postgres'), settings) : undefined;
  // What the product asks of a broker; the rest (persistence, set_tcp_nodelay) is in the generated configuration.
  const configLines = ['max_queued_messages 1000000', 'max_inflight_messages 1000', ...brokerLines];
  const broker = await startMosquitto({ dir: join(dir, 'mosquitto'), port: 0, configLines });
  const stop = async () => {
    await broker.stop();
    await postgres?.stop();
    removeFiles();
  };
  return { dir, postgres, broker, stop };
}

async function startPostgres(dataDir, settings) {
  const options = { dataDir, port: 0, durable: true, settings };
  const first = await startEmbeddedPostgres(options);
  // So that the time of a commit is what PostgreSQL wrote down, not what a poll saw. Takes effect at a start.
  await withClient(first.url, (client) => client.query('ALTER SYSTEM SET track_commit_timestamp = on'));
  await first.stop();
  const postgres = await startEmbeddedPostgres(options);
  await withClient(postgres.url, (client) => client.query(`CREATE DATABASE ${TEMPLATE} TEMPLATE template0`));
  const dataSource = createDataSource(urlOf(postgres, TEMPLATE), { poolSize: 2, applicationName: 'bench' });
  await dataSource.initialize();
  await migrate(dataSource).finally(() => dataSource.destroy());
  return postgres;
}

let databases = 0;

/**
 * A migrated database without rows, its partitions made with the JSON index or without; `sql` is a connection to it, whose backend
 * (`sqlPid`) is the benchmark's and no contestant's. A checkpoint comes before each run, so that all pay alike for full pages.
 */
export async function freshDatabase(/** @type {Servers} */ { postgres }, /** @type {'live' | 'off'} */ jsonIndex) {
  const name = `bench_${++databases}`;
  await withClient(postgres.url, (client) => client.query(`CREATE DATABASE ${name} TEMPLATE ${TEMPLATE}`));
  const url = urlOf(postgres, name);
  const sql = new pg.Client({ connectionString: url, application_name: 'bench' });
  sql.on('error', () => undefined); // the query that meets it reports it
  await sql.connect();
  const { rows } = await sql.query('SELECT pg_backend_pid() AS pid');
  const span = [new Date(Date.now() - DAY_MS), new Date(Date.now() + 2 * DAY_MS)];
  await sql.query('SELECT ensure_partitions($1, $2, $3)', [...span, jsonIndex === 'live']);
  await sql.query('CHECKPOINT');
  const drop = async () => {
    await sql.end();
    await withClient(postgres.url, (client) => client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`));
  };
  return { url, sql, sqlPid: rows[0].pid, drop };
}

export async function withClient(/** @type {string} */ url, use) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

function urlOf(postgres, database) {
  const url = new URL(postgres.url);
  url.pathname = `/${database}`;
  return url.href;
}
