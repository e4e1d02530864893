import { connect } from 'node:net';
import { Api } from './api.js';
import { operationsOf } from './documented.js';
import { type BatchRow, insertBatch } from './rows.js';

describe('HTTP as clients and proxies expect it', () => {
  let api: Api;
  let batch: BatchRow;

  beforeAll(async () => {
    api = await Api.start();
    batch = await insertBatch(api.sql);
  });
  afterAll(() => api.stop());

  it('answers HEAD as GET, without the body', async () => {
    for (const path of [
      '/api/v1/batches',
      `/api/v1/batches/${batch.batchId}`,
      `/api/v1/messages/${batch.messages[0]!.messageId}/payload`,
    ]) {
      const [get, head] = [await api.fetch(path), await api.fetch(path, { method: 'HEAD' })];
      const told = ({ status, headers }: Response) => [
        status,
        ...['content-type', 'content-length', 'etag', 'cache-control', 'content-disposition'].map((name) => headers.get(name)),
      ];
      expect(told(head)).toEqual(told(get));
      expect([await head.text(), (await get.text()).length > 0]).toEqual(['', true]);
    }
    expect((await api.fetch('/api/v1/batches?stauts=1', { method: 'HEAD' })).status).toBe(400);
  });

  it('says of every address which methods it takes: with OPTIONS, and where another one is tried', async () => {
    const methods = new Map<string, string[]>();
    for (const { method, path } of await operationsOf(api.app.url)) methods.set(path, [...(methods.get(path) ?? []), method]);
    expect(methods.size).toBeGreaterThan(20);
    for (const [path, taken] of methods) {
      const allow = [...taken, ...(taken.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].sort().join(', ');
      const filled = path.replace(/\{\w+\}/g, 'x');
      const options = await fetch(api.app.url + filled, { method: 'OPTIONS', headers: { Origin: 'https://evil.example' } });
      const put = await api.fetch(filled, { method: 'PUT' });
      expect([path, options.status, options.headers.get('allow'), await options.text()]).toEqual([path, 204, allow, '']);
      expect([...options.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([]);
      expect([path, put.status, put.headers.get('allow')]).toEqual([path, 405, allow]);
      expect(await put.json()).toMatchObject({ code: 'METHOD_NOT_ALLOWED', status: 405 });
    }
  });

  it.each([
    ['this is not HTTP\r\n\r\n', 400, 'REQUEST_REFUSED'],
    ['GET /api/v1/batches HTTP/1.1\r\nHost: localhost\r\nA: \0\r\n\r\n', 400, 'REQUEST_REFUSED'],
    [`GET /?${'x'.repeat(20_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`, 431, 'HEADERS_TOO_LARGE'],
    [`GET / HTTP/1.1\r\nHost: localhost\r\nA: ${'x'.repeat(20_000)}\r\n\r\n`, 431, 'HEADERS_TOO_LARGE'],
  ])('answers %.40j, which never becomes a request, with a problem too', async (text, status, code) => {
    const answer = await sendRaw(api.app.url, text);
    const [head = '', body = ''] = answer.split('\r\n\r\n');
    expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} [A-Z]`));
    expect(head).toContain('Content-Type: application/problem+json');
    const problem = JSON.parse(body) as { requestId: string };
    expect(problem).toMatchObject({ code, status });
    expect(head).toContain(`X-Request-Id: ${problem.requestId}`);
    expect((await fetch(`${api.app.url}/livez`)).status).toBe(200);
  });
});

/** Sends bytes as they are; all that comes back until the connection is closed. */
function sendRaw(url: string, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const chunks: Buffer[] = [];
    const socket = connect({ host: hostname, port: Number(port) }, () => socket.write(text));
    socket.on('data', (chunk) => chunks.push(chunk)).on('error', reject);
    socket.on('end', () => {
      resolve(Buffer.concat(chunks).toString());
      socket.end();
    });
  });
}
