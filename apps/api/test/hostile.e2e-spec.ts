import { request } from 'node:http';
import { Api } from './api.js';
import { type BatchRow, insertBatch } from './rows.js';

interface ProblemBody extends Record<string, unknown> {
  code: string;
  errors: { parameter: string; detail: string }[];
}

describe('hostile and mistaken requests', () => {
  let api: Api;
  let batch: BatchRow;

  beforeAll(async () => {
    api = await Api.start();
    batch = await insertBatch(api.sql);
    await insertBatch(api.sql, { startAt: new Date(Date.now() - 120_000) });
  });
  afterAll(() => api.stop());

  const lists = ['/api/v1/batches', '/api/v1/messages', '/api/v1/devices'];
  const problem = (path: string, init?: RequestInit) => api.ask<ProblemBody>(path, init);

  it.each([
    'limit=0',
    'limit=-1',
    'limit=1e9',
    'limit=1000000000',
    'limit=501',
    'limit=1.5',
    'limit=10abc',
    'limit=',
    'limit=%2010',
    'limit=1&limit=2',
  ])('refuses %s', async (query) => {
    for (const path of [...lists, `/api/v1/batches/${batch.batchId}/messages`]) {
      const { status, body } = await problem(`${path}?${query}`);
      expect([status, body.code, body.errors.map((error) => error.parameter)]).toEqual([400, 'INVALID_PARAMETER', ['limit']]);
    }
  });

  it.each([
    'from=2026-11-21T08:00:00',
    'from=2026-11-21',
    'from=2026-11-21T08:00:00+01:00', // the + is a space
    'from=2026-02-30T00:00:00Z',
    'from=1763712000',
    'from=yesterday',
    'from=2026-11-21T00:00:00Z&to=2026-11-20T00:00:00Z',
    'from=2016-11-21T00:00:00Z&to=2026-11-21T00:00:00Z',
    'from=2016-11-21T00:00:00Z',
    'to=',
    'to=2026-11-21T00:00:00Z&to=2026-11-22T00:00:00Z',
  ])('refuses %s', async (query) => {
    for (const path of ['/api/v1/batches', '/api/v1/messages']) {
      const { status, body } = await problem(`${path}?${query}`);
      expect([status, body.code]).toEqual([400, 'INVALID_PARAMETER']);
    }
  });

  it.each([
    ['/api/v1/batches?stauts=pending', 'stauts'],
    ['/api/v1/batches?status[]=pending', ''],
    ['/api/v1/messages?limit[$gt]=1', ''],
    ['/api/v1/devices?<script>=1', ''],
    ['/api/v1/messages?hash=abc', 'hash'],
    ['/api/v1/batches?status=open', 'status'],
    ['/api/v1/devices?tenantId=', 'tenantId'],
    ['/api/v1/devices?tenantId=%00', 'tenantId'],
    [`/api/v1/devices?siteId=${'x'.repeat(101)}`, 'siteId'],
    ['/api/v1/devices?tenantId=a&tenantId=b', 'tenantId'],
  ])('refuses %s', async (path, parameter) => {
    const { status, body } = await problem(path);
    expect([status, body.code, body.errors.map((error) => error.parameter)]).toEqual([400, 'INVALID_PARAMETER', [parameter]]);
    expect(JSON.stringify(body)).not.toContain('script');
  });

  it('refuses query parameters and bodies where none are known', async () => {
    for (const path of [`/api/v1/batches/${batch.batchId}`, `/api/v1/messages/${batch.messages[0]!.messageId}`]) {
      expect((await problem(`${path}?verbose=1`)).body.code).toBe('INVALID_PARAMETER');
    }
  });

  it.each(['1', 'abc', '550e8400-e29b-41d4-a716-44665544000', '550e8400e29b41d4a716446655440000', "x'%20OR%201=1--", '%00'])(
    'refuses %s as an identifier',
    async (id) => {
      for (const path of [
        `batches/${id}`,
        `batches/${id}/messages`,
        `messages/${id}`,
        `messages/${id}/payload`,
        `messages?batchId=${id}`,
      ]) {
        const { status, body } = await problem(`/api/v1/${path}`);
        expect([status, body.code]).toEqual([400, 'INVALID_UUID']);
      }
    },
  );

  it.each([
    ['batches/00000000-0000-0000-0000-000000000000', 'BATCH_NOT_FOUND'],
    ['batches/ffffffff-ffff-ffff-ffff-ffffffffffff/messages', 'BATCH_NOT_FOUND'],
    ['messages/00000000-0000-0000-0000-000000000000', 'MESSAGE_NOT_FOUND'],
    ['messages/019ab5e8-2c00-7000-8000-000000000000/payload', 'MESSAGE_NOT_FOUND'],
  ])('answers 404 for %s', async (path, code) => {
    const { status, body } = await problem(`/api/v1/${path}`);
    expect([status, body.code]).toEqual([404, code]);
  });

  it.each(["' OR '1'='1", "'; DROP TABLE messages; --", '%', '_', '\\', '$1', '${x}', '"', '\u202e', '😀'])(
    'finds nothing by %j and does no harm',
    async (text) => {
      const value = encodeURIComponent(text);
      for (const path of [
        `devices?tenantId=${value}`,
        `devices?siteId=${value}`,
        `messages?deviceId=${value}`,
        `batches?tenantId=${value}`,
      ]) {
        const { status, body } = await api.ask(`/api/v1/${path}`);
        expect([status, body['items']]).toEqual([200, []]);
      }
      expect((await api.ask<{ items: unknown[] }>('/api/v1/messages')).body.items).toHaveLength(6);
    },
  );

  it('takes a cursor only for the list and filter that it came from', async () => {
    const cursor = (await api.ask('/api/v1/batches?limit=1')).body['nextCursor'] as string;
    expect((await api.ask(`/api/v1/batches?limit=500&cursor=${cursor}`)).status).toBe(200);
    const ofMessages = (await api.ask(`/api/v1/batches/${batch.batchId}/messages?limit=1`)).body['nextCursor'] as string;
    for (const path of [
      `/api/v1/messages?cursor=${cursor}`,
      `/api/v1/batches?cursor=${cursor}&tenantId=factory1`,
      `/api/v1/batches?cursor=${cursor.slice(1)}`,
      `/api/v1/batches?cursor=${cursor}AAAA`,
      `/api/v1/batches?cursor=${cursor}&cursor=${cursor}`,
      '/api/v1/batches?cursor=',
      '/api/v1/batches?cursor=%00',
      `/api/v1/batches?cursor=${'A'.repeat(4000)}`,
      `/api/v1/batches/019ab5e8-2c00-7000-8000-000000000000/messages?cursor=${ofMessages}`,
    ]) {
      const { status, body } = await problem(path);
      expect([path, status, body.errors]).toEqual([path, 400, [expect.objectContaining({ parameter: 'cursor' })]]);
    }
  });

  it.each([
    ['GET', '/nowhere', 404, 'ROUTE_NOT_FOUND', null],
    ['GET', '/api/v1/', 404, 'ROUTE_NOT_FOUND', null],
    ['GET', '/api/docs/../../package.json', 404, 'ROUTE_NOT_FOUND', null],
    ['GET', '/api/docs/..%2f..%2fpackage.json', 404, 'ROUTE_NOT_FOUND', null],
    ['DELETE', '/api/v1/batches', 405, 'METHOD_NOT_ALLOWED', 'GET, HEAD, OPTIONS'],
    ['PUT', '/readyz', 405, 'METHOD_NOT_ALLOWED', 'GET, HEAD, OPTIONS'],
    ['GET', '/api/v1/batches/%FF', 400, 'INVALID_URL', null],
    ['GET', '/api/v1/batches?tenantId=%ZZ', 400, 'INVALID_URL', null],
    ['GET', '/api/v1/batches?tenantId=%', 400, 'INVALID_URL', null],
    ['GET', '/api/v1/batches?tenantId=%FF', 400, 'INVALID_URL', null],
    ['GET', '/api/v1/batches?tenantId=%ED%A0%80', 400, 'INVALID_URL', null],
    ['GET', '/api/v1/batches?%ZZ=1', 400, 'INVALID_URL', null],
    ['OPTIONS', '/api/v1/batches/%FF', 400, 'INVALID_URL', null],
    ['OPTIONS', '/nowhere', 404, 'ROUTE_NOT_FOUND', null],
  ])('%s %s is %i %s', async (method, path, status, code, allow) => {
    const answer = await rawRequest(api, method, path);
    expect([answer.status, answer.headers['allow'] ?? null, answer.headers['content-type']]).toEqual([
      status,
      allow,
      'application/problem+json; charset=utf-8',
    ]);
    expect(JSON.parse(answer.text)).toMatchObject({ code, status, requestId: answer.headers['x-request-id'] });
  });

  it.each([
    ['{"a":', 'application/json', 400, 'INVALID_JSON'],
    [JSON.stringify({ text: 'x'.repeat(100_000) }), 'application/json', 413, 'PAYLOAD_TOO_LARGE'],
    ['{}', 'application/json; charset=latin1', 415, 'UNSUPPORTED_MEDIA_TYPE'],
  ])('answers a body %.20s of %s with %i', async (text, type, status, code) => {
    const answer = await rawRequest(api, 'POST', '/api/v1/batches', { 'Content-Type': type }, text);
    expect([answer.status, (JSON.parse(answer.text) as ProblemBody).code]).toEqual([status, code]);
  });

  it('takes a harmless request id, makes another for any other, and tells it in the answer', async () => {
    const ask = async (id: string) => (await rawRequest(api, 'GET', '/nowhere', { 'X-Request-Id': id })).headers['x-request-id'];
    expect(await ask('trace-42_A')).toBe('trace-42_A');
    for (const id of ['a b', '{"level":"fatal"}', 'x'.repeat(65), '<img>', '']) expect(await ask(id)).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('sends security headers with everything and no CORS headers to anyone', async () => {
    for (const path of ['/', '/livez', '/metrics', '/nowhere', '/api/v1/batches', '/api/docs', '/api/openapi.json']) {
      for (const origin of ['https://evil.example', 'null']) {
        const { headers } = await rawRequest(api, 'GET', path, { Origin: origin });
        expect(headers['x-content-type-options']).toBe('nosniff');
        expect(headers['content-security-policy']).toMatch(/^default-src 'none';.*frame-ancestors 'none'/);
        expect(Object.keys(headers).filter((name) => name.startsWith('access-control') || name === 'x-powered-by')).toEqual([]);
      }
    }
    expect((await api.ask('/api/v1/batches')).headers.get('cache-control')).toBe('no-store');
  });

  it('hides what went wrong inside and logs it under the same request id', async () => {
    await api.sql.query('ALTER TABLE devices RENAME TO devices_gone');
    const { status, body } = await rawProblem('/api/v1/devices');
    await api.sql.query('ALTER TABLE devices_gone RENAME TO devices');
    expect([status, body.code]).toEqual([500, 'INTERNAL_ERROR']);
    expect(JSON.stringify(body)).not.toMatch(/devices|SELECT|42P01|\.js/);
    const lines = api.app.logs.filter((line) => line['requestId'] === body['requestId']);
    expect(lines).toEqual([expect.objectContaining({ level: 'error', error: expect.objectContaining({ code: '42P01' }) })]);
  });

  it('writes one log line per failure, whatever the path holds', async () => {
    const before = api.app.logs.length;
    await api.sql.query('ALTER TABLE devices RENAME TO devices_gone');
    await rawRequest(api, 'GET', '/api/v1/devices?tenantId=%0a{"level":"fatal"}%0d%0a', {
      'User-Agent': '\u009b2J{"level":"fatal"}',
    });
    await api.sql.query('ALTER TABLE devices_gone RENAME TO devices');
    const lines = api.app.logs.slice(before);
    expect(lines.map((line) => line.level)).toEqual(['error']);
  });

  async function rawProblem(path: string): Promise<{ status: number; body: ProblemBody }> {
    const { status, text } = await rawRequest(api, 'GET', path);
    return { status, body: JSON.parse(text) as ProblemBody };
  }
});

interface RawAnswer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
}

/** The path as it is: fetch would tidy it first, and add headers. */
function rawRequest(
  { app, key }: Api,
  method: string,
  path: string,
  given: Record<string, string> = {},
  body?: string,
): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(app.url);
    const headers = { Authorization: `Bearer ${key}`, ...given };
    const outgoing = request({ hostname, port, method, path, headers, setHost: true }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () =>
        resolve({ status: response.statusCode!, headers: response.headers, text: Buffer.concat(chunks).toString('utf8') }),
      );
    });
    outgoing.on('error', reject).end(body);
  });
}
