import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { createTestDatabase, startApp, until } from '@tallystick/testing';
import pg from 'pg';
import { Api, makeKey } from './api.js';
import { type BatchRow, fillMessages, insertBatch, insertMessage, messageRow } from './rows.js';

interface Event {
  id: string;
  data: { messageId: string; deviceId: string; tenantId: string; rawData: unknown };
}

/** An open stream, read as a browser would. */
class Listener {
  readonly events: Event[] = [];
  comments = 0;
  isOver = false;

  private constructor(readonly response: IncomingMessage) {
    let text = '';
    response.setEncoding('utf8');
    response.on('error', () => undefined).on('close', () => (this.isOver = true));
    response.on('data', (chunk: string) => {
      const blocks = (text + chunk).split('\n\n');
      text = blocks.pop()!;
      for (const block of blocks) this.take(block.split('\n'));
    });
  }

  static async of(url: string, headers: Record<string, string>): Promise<Listener> {
    const request = get(url, { headers, agent: false });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    expect([response.statusCode, response.headers['content-type']]).toEqual([200, 'text/event-stream; charset=utf-8']);
    return new Listener(response);
  }

  get ids(): string[] {
    return this.events.map(({ id }) => id);
  }

  async hears(messageIds: string[]): Promise<void> {
    await until(() => messageIds.every((id) => this.ids.includes(id)), { timeoutMs: 5_000 });
  }

  close(): void {
    this.response.destroy();
  }

  private take(lines: string[]): void {
    const all = (name: string) => lines.filter((line) => line.startsWith(name)).map((line) => line.slice(name.length));
    if (lines[0]!.startsWith(':')) this.comments += 1;
    const [id] = all('id: ');
    if (id !== undefined) this.events.push({ id, data: JSON.parse(all('data: ').join('\n')) as Event['data'] });
  }
}

const idsOf = (batch: BatchRow) => batch.messages.map(({ messageId }) => messageId);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('stream', () => {
  let api: Api;
  const open: Listener[] = [];
  const listen = async (topics: string[], given: { key?: string; cookie?: string; after?: string } = {}) => {
    const { key = api.key, cookie, after } = given;
    const query = new URLSearchParams(topics.map((topic): [string, string] => ['topics', topic]));
    const listener = await Listener.of(`${api.app.url}/api/v1/stream?${query.toString()}`, {
      ...(cookie === undefined ? { Authorization: `Bearer ${key}` } : { Cookie: cookie }),
      ...(after !== undefined && { 'Last-Event-ID': after }),
    });
    open.push(listener);
    return listener;
  };
  const store = (tenantId: string, deviceIds: string[], payloads?: (string | Buffer)[]) =>
    insertBatch(api.sql, { tenantId, deviceIds, ...(payloads && { payloads }), startAt: new Date() });

  beforeAll(async () => {
    api = await Api.start({ STALL_LIMIT_S: '2' });
  });
  afterEach(async () => {
    for (const listener of open.splice(0)) listener.close();
    await pause(50);
  });
  afterAll(() => api.stop());

  it('sends what is stored from now on, once, to those whose filters match', async () => {
    const before = await store('tenant-a', ['old']);
    const [all, one, none] = [await listen(['#']), await listen(['nothing', 'veep/+/line1/one/data']), await listen(['veep/tenant-a'])];
    const batch = await store('tenant-a', ['one', 'two'], ['{\r\n"kwh":\n1}', 'x', 'y'.repeat(5_000), '"z"']);
    await all.hears(idsOf(batch));
    await pause(2_500);
    expect(all.ids).toEqual(idsOf(batch));
    expect(one.ids).toEqual([idsOf(batch)[0], idsOf(batch)[2]]);
    expect(none.ids).toEqual([]);
    expect(all.events.map(({ data }) => data.rawData)).toEqual([{ kwh: 1 }, null, null, 'z']);
    expect(all.ids).not.toContain(idsOf(before)[0]);
    const listed = await api.ask<{ items: Event['data'][] }>(`/api/v1/messages?batchId=${batch.batchId}`);
    expect(all.events.map(({ data }) => data)).toEqual([...listed.body.items].reverse());
  });

  it('sends a message that is committed after one that came later, once', async () => {
    const batch = await store('tenant-a', ['late']);
    const all = await listen(['#']);
    const other = new pg.Client({ connectionString: api.databaseUrl });
    await other.connect();
    await other.query('BEGIN');
    const early = messageRow('tenant-a', 'late', Buffer.from('1'), new Date());
    await insertMessage(other, batch, 10, early);
    await pause(20);
    const later = await store('tenant-a', ['later']);
    await all.hears(idsOf(later));
    await pause(1_500);
    expect(all.ids).not.toContain(early.messageId);
    await other.query('COMMIT');
    await other.end();
    await all.hears([early.messageId]);
    await pause(1_500);
    expect(all.ids).toEqual([...idsOf(later), early.messageId]);
  });

  it('goes on where the client was, at most an hour back', async () => {
    const at = (minutes: number) => new Date(Date.now() - minutes * 60_000);
    const [tooOld, old, recent] = [
      await insertBatch(api.sql, { tenantId: 'tenant-r', startAt: at(61) }),
      await insertBatch(api.sql, { tenantId: 'tenant-r', startAt: at(59) }),
      await insertBatch(api.sql, { tenantId: 'tenant-r', startAt: at(10) }),
    ];
    const again = await listen(['veep/tenant-r/#'], { after: idsOf(old)[2]! });
    await again.hears(idsOf(recent));
    const live = await store('tenant-r', ['live']);
    await again.hears(idsOf(live));
    // Around the last event some come again, for one before it may have been stored late.
    expect(again.ids).toEqual([...idsOf(old).slice(0, 2), ...idsOf(recent), ...idsOf(live)]);
    const refused = await api.ask('/api/v1/stream?topics=%23', { headers: { 'Last-Event-ID': idsOf(tooOld)[0]! } });
    expect(refused.body).toMatchObject({ status: 410, code: 'REPLAY_TOO_OLD' });
    for (const wrong of ['17', 'x'.repeat(500)]) {
      const answer = await api.ask('/api/v1/stream?topics=%23', { headers: { 'Last-Event-ID': wrong } });
      expect(answer.body).toMatchObject({ status: 400, code: 'INVALID_PARAMETER' });
    }
  });

  it('replays more than one look takes, in order', async () => {
    const first = await insertBatch(api.sql, { tenantId: 'tenant-many', startAt: new Date(Date.now() - 60_000) });
    await fillMessages(api.sql, 5_000, { tenantId: 'tenant-many' });
    const all = await listen(['veep/tenant-many/+/METER/#'], { after: idsOf(first)[2]! });
    await until(() => all.events.length >= 5_000);
    expect(all.ids).toEqual([...new Set(all.ids)].sort());
    expect(all.ids).toHaveLength(5_000);
  });

  it('is of the own tenant alone', async () => {
    const scopes = ['telemetry:read'] as const;
    const [a, b] = [await makeKey(api.sql, { tenantId: 'tenant-a', scopes }), await makeKey(api.sql, { tenantId: 'tenant-b', scopes })];
    const last = idsOf(await store('tenant-b', ['one']))[0]!;
    const [ofA, ofB, replayA] = [
      await listen(['#'], { key: a }),
      await listen(['#', 'veep/tenant-a/#'], { key: b }),
      await listen(['#', 'veep/tenant-b/#'], { key: a, after: last }),
    ];
    const [batchA, batchB] = [await store('tenant-a', ['one']), await store('tenant-b', ['one'])];
    await Promise.all([ofA.hears(idsOf(batchA)), ofB.hears(idsOf(batchB)), replayA.hears(idsOf(batchA))]);
    await pause(1_500);
    expect(ofA.ids).toEqual(idsOf(batchA));
    expect(ofB.ids).toEqual(idsOf(batchB));
    expect([...new Set(replayA.events.map(({ data }) => data.tenantId))]).toEqual(['tenant-a']);
  });

  it.each([
    '',
    '?topics=',
    '?topics=a%23',
    '?topics=a/%23/b',
    '?topics=%24share/g/a',
    `?topics=${'a/'.repeat(201)}`,
    '?topics=a&x=1',
    '?topic=a',
  ])('is refused with %j', async (query) => {
    expect((await api.ask(`/api/v1/stream${query}`)).body).toMatchObject({ status: 400, code: 'INVALID_PARAMETER' });
  });
  it('is refused with more than 20 filters', async () => {
    const query = Array.from({ length: 21 }, (_, at) => `topics=t${at}`).join('&');
    expect((await api.ask(`/api/v1/stream?${query}`)).body).toMatchObject({ code: 'INVALID_PARAMETER' });
  });

  it('is one of five for each key', async () => {
    const key = await makeKey(api.sql, { scopes: ['telemetry:read'] });
    for (let time = 0; time < 5; time++) await listen(['#'], { key });
    const headers = { Authorization: `Bearer ${key}` };
    const refused = await api.ask('/api/v1/stream?topics=%23', { headers });
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '10']);
    await listen(['#']);
    open[0]!.close();
    await until(async () => {
      const probe = new AbortController();
      const { status } = await api.fetch('/api/v1/stream?topics=%23', { headers, signal: probe.signal });
      probe.abort();
      return status === 200;
    });
  });

  it('ends within 5 s when its key is revoked or expires, or its session does', async () => {
    const revoked = await makeKey(api.sql);
    const expiring = await makeKey(api.sql, { expiresAt: new Date(Date.now() + 2_000) });
    const headers = { 'Content-Type': 'application/json' };
    const signedIn = await fetch(`${api.app.url}/api/v1/session`, { method: 'POST', headers, body: JSON.stringify({ key: api.key }) });
    const cookie = signedIn.headers.get('set-cookie')!.split(';')[0]!;
    const ending = [await listen(['#'], { key: revoked }), await listen(['#'], { key: expiring }), await listen(['#'], { cookie })];
    const other = await listen(['#']);
    await pause(2_500);
    await api.sql.query(`UPDATE api_keys SET revoked_at = now() WHERE key_id = $1`, [revoked.slice(4, 16)]);
    await api.sql.query(`DELETE FROM web_sessions`);
    await until(() => ending.every(({ isOver }) => isOver), { timeoutMs: 5_000 });
    expect(ending.map(({ response }) => response.complete)).toEqual([true, true, true]);
    expect(other.isOver).toBe(false);
  });

  it('says that it is alive', async () => {
    const all = await listen(['#']);
    await until(() => all.comments > 0, { timeoutMs: 20_000 });
  });

  it('cuts a client off that does not read', async () => {
    const first = await insertBatch(api.sql, { tenantId: 'tenant-slow', startAt: new Date(Date.now() - 120_000) });
    await fillMessages(api.sql, 40_000, { tenantId: 'tenant-slow', payloadBytes: 4_000 });
    const slow = await listen(['#'], { after: idsOf(first)[2]! });
    slow.response.pause();
    await until(() => JSON.stringify(api.app.logs).includes('stream cut off'), { timeoutMs: 10_000 });
    slow.response.resume();
    await until(() => slow.isOver);
    expect(slow.response.complete).toBe(false);
  });
});

describe('a stream under way', () => {
  it('outlasts the database, and ends in order when the API stops', async () => {
    const { url } = await createTestDatabase();
    const sql = new pg.Client({ connectionString: url });
    sql.on('error', () => undefined);
    await sql.connect();
    const key = await makeKey(sql);
    const app = await startApp('api', { DATABASE_URL: url });
    await app.waitForReady();
    const listener = await Listener.of(`${app.url}/api/v1/stream?topics=%23`, { Authorization: `Bearer ${key}` });
    await pause(1_200);
    for (let time = 0; time < 20; time++) {
      await sql.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
      );
      await pause(100);
    }
    const batch = await insertBatch(sql, { startAt: new Date() });
    await listener.hears(idsOf(batch));
    expect(listener.isOver).toBe(false);
    expect(await app.stop()).toBe(0);
    expect([listener.isOver, listener.response.complete, listener.ids]).toEqual([true, true, idsOf(batch)]);
    await sql.end();
  });
});
