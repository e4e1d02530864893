import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres.js';
import { findPostgres } from './postgres-binaries.js';
import { viewProcess } from './processes.js';

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

/** A process that starts PostgreSQL on the folder and then does nothing; resolves with the server's process id. */
async function startFromAnotherProcess(dataDir: string) {
  const library = join(process.cwd(), 'dist/libs/embedded/src/index.js');
  const script = `const { startEmbeddedPostgres } = await import(${JSON.stringify(library)});
    const server = await startEmbeddedPostgres({ dataDir: ${JSON.stringify(dataDir)}, port: 0, durable: false });
    console.log(server.pid); setInterval(() => {}, 1000);`;
  const starter = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(starter.stdout, 'data')) as [Buffer];
  return { starter, serverPid: Number(line.toString()) };
}

describe('startEmbeddedPostgres', () => {
  // 0700 and root's own when root runs this: the server, another user then, must reach it all the same
  const home = mkdtempSync(join(tmpdir(), 'tallystick-embedded-'));
  const dataDir = join(home, 'deeper', 'postgres');
  const running: EmbeddedPostgres[] = [];
  const logged: string[] = [];
  const options = { dataDir, port: 0, durable: false, log: (line: string) => logged.push(line) };

  async function start(changes: Partial<Parameters<typeof startEmbeddedPostgres>[0]> = {}) {
    const server = await startEmbeddedPostgres({ ...options, ...changes });
    running.push(server);
    return server;
  }

  async function stopAll() {
    await Promise.all(running.splice(0).map((server) => server.stop()));
    logged.length = 0;
  }

  beforeAll(async () => {
    const server = await start();
    await query(server.url, 'CREATE TABLE readings AS SELECT 21.5 AS celsius');
    await stopAll();
  });
  afterEach(stopAll);
  afterAll(() => rmSync(home, { recursive: true, force: true }));

  it('runs programs that lie below a 0700 folder of its user (a clone in its home), which matters where that is root', async () => {
    const { postgres } = await findPostgres();
    const cloned = join(home, 'clone');
    mkdirSync(cloned, { mode: 0o700 });
    cpSync(dirname(dirname(postgres)), join(cloned, 'native'), { recursive: true, verbatimSymlinks: true });
    const server = await start({ dataDir: join(cloned, 'data'), binDir: join(cloned, 'native', 'bin') });
    expect(await query(server.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('finds the data again at the second start', async () => {
    const server = await start();
    expect(await query(server.url, 'SELECT celsius FROM readings')).toEqual([{ celsius: '21.5' }]);
    expect(logged).toEqual([]);
  });

  it('makes a UTF-8 database in which every script has letters, and lets nobody in without the password', async () => {
    const server = await start();
    expect(await query(server.url, `SELECT current_setting('server_encoding') AS encoding, upper('é') AS upper`)).toEqual([
      { encoding: 'UTF8', upper: 'É' },
    ]);
    const guess = new URL(server.url);
    guess.password = 'guess';
    await expect(query(guess.href, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' });
    expect(await query(server.url, `SELECT auth_method FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256'`)).toEqual([]);
  });

  it('keeps what was committed when the server is killed', async () => {
    const server = await start({ durable: true });
    await query(server.url, 'CREATE TABLE IF NOT EXISTS committed AS SELECT 1 AS one');
    process.kill(server.pid, 'SIGKILL');
    expect(await server.exited).toEqual({ code: null, signal: 'SIGKILL' });
    expect(await query((await start()).url, 'SELECT one FROM committed')).toEqual([{ one: 1 }]);
  });

  it('stops a server whose starter was killed, and takes its data', async () => {
    const { starter, serverPid } = await startFromAnotherProcess(dataDir);
    await expect(start()).rejects.toMatchObject({ code: 'ALREADY_RUNNING', message: expect.stringContaining(`kill ${starter.pid}`) });
    starter.kill('SIGKILL');
    await once(starter, 'exit');
    expect(viewProcess(serverPid)).toBeDefined();
    const server = await start();
    expect(viewProcess(serverPid)).toBeUndefined();
    expect(logged).toEqual([expect.stringContaining(`process ${serverPid}`)]);
    expect(await query(server.url, 'SELECT celsius FROM readings')).toHaveLength(1);
  });

  it('clears a postmaster.pid whose number now belongs to another program', async () => {
    writeFileSync(join(dataDir, 'postmaster.pid'), `${process.pid}\n${dataDir}\n1\n5432\n\n127.0.0.1\n0 0\nready\n`);
    await start();
    expect(logged).toEqual([expect.stringContaining('stale postmaster.pid')]);
  });

  it('names the port that is in use and the setting that changes it', async () => {
    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    const { port } = holder.address() as AddressInfo;
    await expect(start({ port })).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      port,
      message: expect.stringMatching(new RegExp(`${port}.*EMBEDDED_POSTGRES_PORT`)),
    });
    holder.close();
  });

  it('refuses the data folder of another major version with the commands that carry it over', async () => {
    const old = join(home, 'old');
    mkdirSync(old);
    writeFileSync(join(old, 'PG_VERSION'), '14\n');
    await expect(start({ dataDir: old })).rejects.toMatchObject({
      code: 'WRONG_MAJOR_VERSION',
      found: 14,
      message: expect.stringMatching(/\/14\/bin\/pg_dump -h 127\.0\.0\.1 -p \d+ -U postgres -Fc -f '.*old-14\.dump' tallystick/),
    });
  });

  it('begins again after a first start that ended half-way', async () => {
    const fresh = join(home, 'fresh');
    mkdirSync(`${fresh}.unfinished`);
    writeFileSync(join(`${fresh}.unfinished`, 'PG_VERSION'), '18\n');
    mkdirSync(fresh); // an empty folder is taken as a new one
    await start({ dataDir: fresh });
    expect(existsSync(`${fresh}.unfinished`)).toBe(false);
  });

  it('touches nothing in a folder that is not its own', async () => {
    const photos = join(home, 'photos');
    mkdirSync(photos);
    writeFileSync(join(photos, 'cat.jpg'), '');
    await expect(start({ dataDir: photos })).rejects.toMatchObject({ code: 'NOT_A_DATA_FOLDER' });
  });

  it('says so when the folder cannot be made', async () => {
    writeFileSync(join(home, 'file'), '');
    await expect(start({ dataDir: join(home, 'file', 'postgres') })).rejects.toMatchObject({
      code: 'FOLDER_NOT_WRITABLE',
      cause: expect.objectContaining({ syscall: 'mkdir' }),
    });
  });

  it('shows the end of the log when the server does not start', async () => {
    const configuration = join(dataDir, 'postgresql.conf');
    const before = readFileSync(configuration);
    appendFileSync(configuration, 'no_such_setting = 1\n');
    await expect(start()).rejects.toMatchObject({ code: 'SERVER_EXITED', message: expect.stringContaining('no_such_setting') });
    writeFileSync(configuration, before);
  });

  it('sets another password when the file is gone, and says so when it is the wrong one', async () => {
    writeFileSync(`${dataDir}.password`, 'of another folder\n');
    await expect(start()).rejects.toMatchObject({ code: 'PASSWORD_REFUSED', message: expect.stringContaining('Delete that file') });
    rmSync(`${dataDir}.password`);
    const server = await start();
    expect(await query(server.url, 'SELECT celsius FROM readings')).toHaveLength(1);
  });

  it('does not run as root', async () => {
    const { pid } = await start();
    const uid = process.platform === 'linux' ? /^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] : 'unknown';
    expect(uid).not.toBe('0');
  });
});
