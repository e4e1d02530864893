import { createServer, connect, type Socket } from 'node:net';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createEmptyDatabase, createTestDatabase, FaultProxy, startApp, until } from '@tallystick/testing';
import pg from 'pg';
import { makeKey } from './api.js';

/** Between the API and PostgreSQL, to be cut and mended. Silent: takes connections and never answers. */
class Line {
  private readonly sockets = new Set<Socket>();
  private server = this.listener();
  silent = false;
  port = 0;

  constructor(private readonly target: { host: string; port: number }) {}

  async mend(): Promise<void> {
    this.server.listen(this.port, '127.0.0.1');
    await once(this.server, 'listening');
    this.port = (this.server.address() as AddressInfo).port;
  }

  async cut(): Promise<void> {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
    await once(this.server, 'close');
    this.server = this.listener();
  }

  private listener() {
    return createServer((near) => {
      this.keep(near);
      if (this.silent) return;
      const far = connect(this.target);
      this.keep(far);
      near.pipe(far).pipe(near);
    });
  }

  private keep(socket: Socket): void {
    this.sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => this.sockets.delete(socket));
  }
}

async function lineTo(url: string): Promise<{ line: Line; url: string }> {
  const through = new URL(url);
  const line = new Line({ host: through.hostname, port: Number(through.port) });
  await line.mend();
  through.port = String(line.port);
  return { line, url: through.href };
}

/** A test database with a key, and a function that asks for a status with it. */
async function prepared(): Promise<{ url: string; get: (url: string) => Promise<Response>; status: (url: string) => Promise<number> }> {
  const { url } = await createTestDatabase();
  const sql = new pg.Client({ connectionString: url });
  await sql.connect();
  const headers = { Authorization: `Bearer ${await makeKey(sql)}` };
  await sql.end();
  const get = (asked: string) => fetch(asked, { headers });
  return { url, get, status: async (asked) => (await get(asked)).status };
}

describe('availability', () => {
  it('stays up without a database, says so, and serves when it comes', async () => {
    const database = await prepared();
    const { get, status } = database;
    const { line, url } = await lineTo(database.url);
    await line.cut();
    const app = await startApp('api', { DATABASE_URL: url });
    expect(await status(`${app.url}/livez`)).toBe(200);
    expect(await status(`${app.url}/readyz`)).toBe(503);
    const answer = await get(`${app.url}/api/v1/batches`);
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '2']);
    expect(await answer.json()).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    expect(await (await fetch(`${app.url}/health`)).json()).toMatchObject({ error: { database: { status: 'down' } } });
    await line.mend();
    await app.waitForReady();
    expect(await status(`${app.url}/api/v1/batches`)).toBe(200);
    expect(await app.stop()).toBe(0);
    await line.cut();
  });

  it('answers 503 while the database is away and recovers by itself', async () => {
    const database = await prepared();
    const { status } = database;
    const { line, url } = await lineTo(database.url);
    const app = await startApp('api', { DATABASE_URL: url });
    await app.waitForReady();
    for (const silent of [false, true]) {
      await line.cut();
      line.silent = silent;
      if (silent) await line.mend();
      const askedAt = Date.now();
      expect(await status(`${app.url}/api/v1/messages`)).toBe(503);
      expect(Date.now() - askedAt).toBeLessThan(4_000);
      expect(await status(`${app.url}/readyz`)).toBe(503);
      expect(await status(`${app.url}/livez`)).toBe(200);
      if (silent) await line.cut();
      line.silent = false;
      await line.mend();
      await until(async () => (await status(`${app.url}/readyz`)) === 200);
      expect(await status(`${app.url}/api/v1/messages`)).toBe(200);
    }
    expect(await app.stop()).toBe(0);
    await line.cut();
  });

  it('is ready again although its connections have died without a word, as behind a firewall that forgot them', async () => {
    const { url } = await createTestDatabase();
    const wire = await FaultProxy.start(Number(new URL(url).port));
    const app = await startApp('api', { DATABASE_URL: Object.assign(new URL(url), { port: String(wire.port) }).href });
    await app.waitForReady();
    wire.strand();
    const status = async () => (await fetch(`${app.url}/readyz`)).status;
    expect(await status()).toBe(503);
    await until(async () => (await status()) === 200, { timeoutMs: 30_000 });
    expect(await app.stop()).toBe(0);
  });

  it('answers 503 within a second when its connections are all taken', async () => {
    const database = await prepared();
    const { get, status } = database;
    const app = await startApp('api', { DATABASE_URL: database.url, DATABASE_POOL_SIZE: '2' });
    await app.waitForReady();
    // The key is remembered for a moment, so that each request needs one connection.
    expect(await status(`${app.url}/api/v1/batches`)).toBe(200);
    const blocker = new pg.Client({ connectionString: database.url });
    await blocker.connect();
    await blocker.query('BEGIN; LOCK TABLE devices IN ACCESS EXCLUSIVE MODE');
    const blocked = [1, 2].map(() => status(`${app.url}/api/v1/devices`));
    await new Promise((resolve) => setTimeout(resolve, 200));
    const askedAt = Date.now();
    const answer = await get(`${app.url}/api/v1/batches`);
    // 0.9 s, and what a busy machine adds; connecting may take 2 s.
    expect(Date.now() - askedAt).toBeLessThan(1_800);
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '2']);
    expect(await answer.json()).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    await blocker.query('ROLLBACK');
    await blocker.end();
    expect(await Promise.all(blocked)).toEqual([200, 200]);
    expect(await status(`${app.url}/api/v1/batches`)).toBe(200);
    expect(await app.stop()).toBe(0);
  });

  it('says that a question takes too long, not that the database is away, and keeps its connection', async () => {
    const database = await prepared();
    const { get, status } = database;
    const app = await startApp('api', { DATABASE_URL: database.url, DATABASE_POOL_SIZE: '2' });
    await app.waitForReady();
    const blocker = new pg.Client({ connectionString: database.url });
    await blocker.connect();
    const backend = async () =>
      (
        await blocker.query<{ pid: number }>(
          `SELECT pid FROM pg_stat_activity WHERE application_name = 'tallystick-api' AND datname = current_database()`,
        )
      ).rows;
    expect(await status(`${app.url}/api/v1/batches`)).toBe(200);
    const before = await backend();
    await blocker.query('BEGIN; LOCK TABLE devices IN ACCESS EXCLUSIVE MODE');
    const answer = await get(`${app.url}/api/v1/devices`);
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, null]);
    expect(await answer.json()).toMatchObject({ code: 'QUERY_GIVEN_UP', detail: expect.stringContaining('not done after 10 s') });
    await blocker.query('ROLLBACK');
    expect(await status(`${app.url}/api/v1/devices`)).toBe(200);
    expect(await backend()).toEqual(expect.arrayContaining(before));
    await blocker.end();
    expect(await app.stop()).toBe(0);
  });

  it('stops at once although connections are never idle, have sent nothing, or half of a request', async () => {
    const { url, status } = await prepared();
    const app = await startApp('api', { DATABASE_URL: url });
    await app.waitForReady();
    const { hostname, port } = new URL(app.url);
    const post = `POST /api/v1/session HTTP/1.1\r\nHost: ${hostname}:${port}\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{`;
    for (const sent of ['', 'GET /readyz HTTP/1.1\r\n', post])
      connect(Number(port), hostname, function (this: Socket) {
        this.on('error', () => undefined).write(sent);
      });
    const askOn = async () => {
      while (true) await status(`${app.url}/api/v1/batches`);
    };
    const asking = [1, 2, 3, 4].map(() => askOn().catch(() => 'refused'));
    await sleep(500);
    const askedAt = Date.now();
    expect(await app.stop()).toBe(0);
    expect(Date.now() - askedAt).toBeLessThan(4_000);
    expect(await Promise.all(asking)).toEqual(asking.map(() => 'refused'));
  });

  it('does not start on a schema that is too old, and says what to run', async () => {
    const app = await startApp('api', { DATABASE_URL: (await createEmptyDatabase()).url });
    expect((await app.exited).code).toBe(65);
    expect(JSON.stringify(app.logs.at(-1))).toContain('tallystick migrate');
  });

  it('does not start with a broken configuration', async () => {
    const app = await startApp('api', { DATABASE_URL: 'mysql://x', LOG_LEVEL: 'loud' });
    expect((await app.exited).code).toBe(78);
  });
});
