import { existsSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { assertUsable, holdsData, initialise, passwordFileOf, passwordOf, serverEnvironment, SUPERUSER } from './data-folder.js';
import { AlreadyRunningError, PasswordRefusedError, PortInUseError, ServerExitedError } from './errors.js';
import { openLogFile } from './log-file.js';
import { assertPortFree, onPort } from './ports.js';
import { findPostgres, type PostgresBinaries } from './postgres-binaries.js';
import { readPostmasterFile } from './postmaster-file.js';
import { endProcess, isAlive, viewProcess } from './processes.js';
import { ServerProcess, type ServerExit } from './server-process.js';
import { type Account, serverAccount, unprivileged } from './unprivileged.js';

export interface EmbeddedPostgresOptions {
  /** made on first start; beside it lie `<dataDir>.password` and `<dataDir>.log` */
  dataDir: string;
  /** 0 = a free one */
  port: number;
  /** false gives up crash safety for speed: tests only. Default true. */
  durable?: boolean;
  /** Server settings in place of ours, by name. */
  settings?: Readonly<Record<string, string>>;
  /** told in one line what happens that an operator wants to know */
  log?: (line: string) => void;
  /** the folder of another installation's `initdb` and `postgres` */
  binDir?: string;
}

export interface EmbeddedPostgres {
  /** of the database `tallystick`, with user and password */
  url: string;
  port: number;
  pid: number;
  /** fast (default): open transactions are rolled back and a checkpoint is written. immediate: as in a crash. */
  stop(mode?: 'fast' | 'immediate'): Promise<void>;
  /** how the server ended, whoever ended it */
  exited: Promise<ServerExit>;
}

export const DATABASE = 'tallystick';
/** The name of the setting in messages about a port in use. */
export const POSTGRES_PORT_SETTING = 'EMBEDDED_POSTGRES_PORT';
const NAME = 'PostgreSQL';
/** A setting of our own on the server's command line, where a later start reads who started it. */
const STARTED_BY = 'tallystick.started_by';

const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '100',
  // A list that names no time looks into every day there is, and holds up to 8 locks for each.
  max_locks_per_transaction: '1024',
  shared_buffers: '256MB',
  max_wal_size: '2GB',
  wal_compression: 'on',
  random_page_cost: '1.1',
  jit: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
};
const NOT_DURABLE = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' };

/** The address, with its password, of the database in a data folder that was started on this port; undefined when there is no such folder. */
export function embeddedPostgresUrl(dataDir: string, port: number): string | undefined {
  const file = passwordFileOf(resolve(dataDir));
  return existsSync(file) ? addressOf(readFileSync(file, 'utf8').trim(), port, DATABASE) : undefined;
}

function addressOf(password: string, port: number, database: string): string {
  return `postgres://${SUPERUSER}:${password}@127.0.0.1:${port}/${database}`;
}

/** Starts PostgreSQL on 127.0.0.1, first making its data folder if there is none; resolves when it takes connections. Throws EmbeddedError. */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { durable = true, settings = {}, log = () => undefined } = options;
  const serverSettings = { ...SETTINGS, ...(durable ? {} : NOT_DURABLE), ...settings };
  const binaries = await findPostgres(options.binDir);
  const requested = resolve(options.dataDir);
  assertUsable(requested);
  // the real path: the same folder has one spelling on every command line
  const dataDir = join(realpathSync(dirname(requested)), basename(requested));
  const account = serverAccount(dataDir);
  const exists = holdsData(dataDir, binaries, account);
  if (exists) await clearEarlierServer(dataDir, log);
  if (options.port !== 0) await assertPortFree(options.port, NAME, POSTGRES_PORT_SETTING);
  if (!exists) {
    log(`making a PostgreSQL ${binaries.major} data folder in ${dataDir}`);
    initialise(dataDir, binaries, account, durable);
  }
  const password = passwordOf(dataDir, binaries, account);
  return onPort(options.port, async (port) => {
    const server = await launch(dataDir, port, binaries, account, serverSettings, log);
    const url = (database: string) => addressOf(password, port, database);
    try {
      await makeDatabase(url, dataDir);
    } catch (error) {
      await server.end('SIGINT');
      throw error;
    }
    const stop = (mode: 'fast' | 'immediate' = 'fast') => server.end(mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
    return { url: url(DATABASE), port, pid: server.pid, stop, exited: server.exited };
  });
}

/**
 * postmaster.pid is there after a crash. Three cases: our server still runs although its starter was killed (stop it: no
 * other way to learn of its end); somebody runs it (refuse); another program has the number by now (the file is stale;
 * PostgreSQL itself clears a file whose process is gone, after checking that no backend is left).
 */
async function clearEarlierServer(dataDir: string, log: (line: string) => void): Promise<void> {
  const earlier = readPostmasterFile(dataDir);
  if (!earlier || !isAlive(earlier.pid)) return;
  const found = viewProcess(earlier.pid);
  if (!found) return;
  if (!/(^|\/)postgres( |$)/.test(found.command)) {
    log(`removing a stale postmaster.pid from ${dataDir}`);
    rmSync(join(dataDir, 'postmaster.pid'), { force: true });
    return;
  }
  const starterPid = Number(new RegExp(`${STARTED_BY}=(\\d+)`).exec(found.command)?.[1]) || undefined;
  const isOrphanOfOurs = found.command.includes(` -D ${dataDir} `) && starterPid !== undefined && starterPid !== found.parentPid;
  if (!isOrphanOfOurs) throw new AlreadyRunningError(NAME, dataDir, earlier.pid, starterPid);
  log(`stopping a PostgreSQL (process ${earlier.pid}) that outlived the program that started it`);
  if (!(await endProcess(earlier.pid, ['SIGINT', 'SIGQUIT'], 30_000))) {
    throw new AlreadyRunningError(NAME, dataDir, earlier.pid, undefined);
  }
}

/** Starts the server and waits until it takes connections; recovery after a crash may take its time and is not cut short. */
async function launch(
  dataDir: string,
  port: number,
  binaries: PostgresBinaries,
  account: Account | undefined,
  settings: Readonly<Record<string, string>>,
  log: (line: string) => void,
): Promise<ServerProcess> {
  const all = { ...settings, port: String(port), [STARTED_BY]: String(process.pid) };
  const args = ['-D', dataDir, ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
  const [command, commandArgs] = unprivileged(account, binaries.postgres, args);
  // Backends of a server killed with SIGKILL may need a moment to notice; until then they hold its shared memory.
  for (const giveUpAt = Date.now() + 15_000; ; await sleep(100)) {
    const logFile = openLogFile(`${dataDir}.log`);
    try {
      const server = await ServerProcess.spawn(NAME, command, commandArgs, serverEnvironment(), logFile);
      await untilReady(server, dataDir, log);
      return server;
    } catch (error) {
      const said = error instanceof ServerExitedError ? logFile.text() : '';
      if (said.includes('Address already in use')) throw new PortInUseError(port, NAME, POSTGRES_PORT_SETTING, { cause: error });
      if (!said.includes('pre-existing shared memory block') || Date.now() > giveUpAt) throw error;
    } finally {
      logFile.close();
    }
  }
}

async function untilReady(server: ServerProcess, dataDir: string, log: (line: string) => void): Promise<void> {
  for (let nextNoticeAt = Date.now() + 5_000; ; await sleep(10)) {
    server.throwIfExited();
    const file = readPostmasterFile(dataDir);
    if (file?.pid === server.pid && file.status === 'ready') return;
    if (Date.now() < nextNoticeAt) continue;
    log(`PostgreSQL is still starting (recovering after a crash?), see ${server.log.path}`);
    nextNoticeAt += 30_000;
  }
}

/** Makes our database if it is not there; by the way finds out whether our password is the right one. */
async function makeDatabase(url: (database: string) => string, dataDir: string): Promise<void> {
  const admin = new pg.Client({ connectionString: url('postgres'), ssl: false });
  try {
    await admin.connect();
    const { rowCount } = await admin.query('SELECT FROM pg_database WHERE datname = $1', [DATABASE]);
    if (rowCount === 0) await admin.query(`CREATE DATABASE ${DATABASE}`);
  } catch (error) {
    if ((error as { code?: string }).code === '28P01') throw new PasswordRefusedError(passwordFileOf(dataDir), { cause: error });
    throw error;
  } finally {
    await admin.end();
  }
}
