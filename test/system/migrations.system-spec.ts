import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { createEmptyDatabase, onCleanUp, until } from '@tallystick/testing';
import { expectedMigrations } from '@tallystick/persistence';
import pg from 'pg';
import { report } from './fault-run.js';
import { query } from './record-oracle.js';

/** The last table of the first migration: devices, batches and messages are made by then, and not committed. */
const IN_THE_WAY = 'rejected_messages';

/** `tallystick migrate` as a process of its own. */
function startMigrator(databaseUrl: string): ChildProcess & { ended: Promise<{ code: number | null; output: string }> } {
  const main = resolve('dist', 'apps', 'cli', 'src', 'main.js');
  const child = spawn(process.execPath, [main, 'migrate'], {
    env: { PATH: process.env['PATH'], DATABASE_URL: databaseUrl },
    stdio: 'pipe',
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, output }));
  onCleanUp(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return Object.assign(child, { ended });
}

/** Makes the table that a migration is about to make, and does not commit: the migration waits half-way. */
async function standInTheWay(databaseUrl: string): Promise<pg.Client> {
  const sql = new pg.Client({ connectionString: databaseUrl });
  await sql.connect();
  onCleanUp(() => sql.end().catch(() => undefined));
  await sql.query(`BEGIN; CREATE TABLE ${IN_THE_WAY} ()`);
  return sql;
}

/** The server process of a migrator that waits until it may make this table. */
async function waitingBackend(databaseUrl: string, table = IN_THE_WAY): Promise<number> {
  const row = await until(async () => {
    const waiting = `SELECT pid FROM pg_stat_activity WHERE application_name = 'tallystick migrate' AND datname = current_database()
      AND wait_event_type = 'Lock' AND query LIKE 'CREATE TABLE ${table}%'`;
    return (await query<{ pid: number }>(databaseUrl, waiting))[0];
  });
  return row.pid;
}

async function tables(databaseUrl: string): Promise<number> {
  const [row] = await query<{ n: number }>(
    databaseUrl,
    `SELECT count(*)::int AS n FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname IN ('devices', 'batches', 'messages')`,
  );
  return row!.n;
}

describe('tallystick migrate', () => {
  it('is killed with -9 half-way: the next one, begun while the server still works for the dead one, does it all', async () => {
    const { url } = await createEmptyDatabase();
    const inTheWay = await standInTheWay(url);
    const killed = startMigrator(url);
    await waitingBackend(url);
    killed.kill('SIGKILL');
    expect(await killed.ended).toMatchObject({ code: null });
    expect(await tables(url)).toBe(0);

    const next = startMigrator(url);
    await waitingBackend(url, 'devices'); // which the dead one's transaction has made
    await inTheWay.query('ROLLBACK');
    const { code, output } = await next.ended;
    report('migrator killed half-way, the next one at once', { exitCode: code ?? -1, applied: expectedMigrations().length });
    expect([code, output]).toEqual([0, expect.stringContaining(`${expectedMigrations().length} applied`)]);
    expect(await startMigrator(url).ended).toEqual({ code: 0, output: 'the schema is up to date\n' });
  });

  it('loses its connection half-way: exits with an error, nothing stays, and the next one does it all', async () => {
    const { url } = await createEmptyDatabase();
    const inTheWay = await standInTheWay(url);
    const cut = startMigrator(url);
    await query(url, 'SELECT pg_terminate_backend($1)', [await waitingBackend(url)]);
    const { code } = await cut.ended;
    expect(code).toBeGreaterThan(0);
    expect(await tables(url)).toBe(0);
    await inTheWay.query('ROLLBACK');
    expect(await startMigrator(url).ended).toMatchObject({ code: 0 });
    report('migrator cut off half-way', { exitCode: code ?? -1 });
  });

  it('runs twice at once: one waits for the other, both end well, everything is applied once', async () => {
    const { url } = await createEmptyDatabase();
    const inTheWay = await standInTheWay(url);
    const migrators = [startMigrator(url), startMigrator(url)];
    await waitingBackend(url);
    const waiting = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'`;
    await until(async () => (await query(url, waiting)).length === 1);
    await inTheWay.query('ROLLBACK');
    const ended = await Promise.all(migrators.map((migrator) => migrator.ended));
    expect(ended.map(({ code }) => code)).toEqual([0, 0]);
    expect(ended.filter(({ output }) => output === 'the schema is up to date\n')).toHaveLength(1);
    const applied = await query<{ name: string }>(url, 'SELECT name FROM migrations ORDER BY id');
    expect(applied.map(({ name }) => name)).toEqual(expectedMigrations());
    report('two migrators at once', { applied: applied.length });
  });
});
