import { Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import fc from 'fast-check';
import { expectDocumented, type Operation, operationsOf } from './documented.js';
import { type FuzzRequest, type Known, requestsOf } from './hostile-requests.js';
import { type Simulated, startSimulated } from './simulated.js';

/** Of all operations together; `npm run test:fuzz` sends more. */
const REQUESTS = Number(process.env['FUZZ_REQUESTS'] ?? 1_500);
const SEED = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31);
/** Operations that are tried at the same time. */
const AT_ONCE = 6;
const PATIENCE_MS = 15_000;
/** Answers without an end, or without one that is near: left after their first bytes. */
const UNENDING = ['text/event-stream', 'application/x-ndjson', 'text/csv'];

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

describe('any request that the document can be misread for', () => {
  let simulated: Simulated;
  let known: Known;
  let operations: { method: string; path: string; operation: Operation }[];
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });
  const statuses: Record<string, number> = {};

  beforeAll(async () => {
    simulated = await startSimulated({ RATE_LIMIT: '1000000', TRUSTED_PROXIES: '127.0.0.1' });
    operations = await operationsOf(simulated.api.app.url);
    known = { key: simulated.api.key, values: await knownValues(simulated), cursors: new Map() };
  }, 60_000);
  afterAll(async () => {
    agent.destroy();
    await simulated.stop();
  });

  it(
    `is answered as described: ${REQUESTS} requests, none with 5xx (seed ${SEED})`,
    async () => {
      const failures: string[] = [];
      const waiting = [...operations];
      const tryNext = async (): Promise<void> => {
        for (let next = waiting.shift(); next; next = waiting.shift()) {
          const { method, path, operation } = next;
          const property = fc.asyncProperty(requestsOf(method, path, operation, known), (made) => expectDescribed(made(), operation));
          const checked = await fc.check(property, { numRuns: Math.ceil(REQUESTS / operations.length), seed: SEED });
          if (checked.failed) failures.push(`${method} ${path}: ${String(checked.errorInstance)}`);
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, tryNext));
      const count = Object.values(statuses).reduce((sum, of) => sum + of, 0);
      process.stderr.write(`fuzz: ${count} requests (seed ${SEED}), answers by status: ${JSON.stringify(statuses)}\n`);
      expect(failures).toEqual([]);
      expect(count).toBeGreaterThanOrEqual(REQUESTS);
      // Otherwise it would be the first check of each request alone that was tried.
      expect(statuses['200']! / count).toBeGreaterThan(0.2);
    },
    60_000 + REQUESTS * 50,
  );

  it('leaves the API as it was: alive, with all its connections, and nothing in the log that is an error', async () => {
    const { app } = simulated.api;
    expect((await fetch(`${app.url}/readyz`)).status).toBe(200);
    expect((await simulated.api.ask('/api/v1/messages')).status).toBe(200);
    expect(app.logs.filter(({ level }) => level === 'error' || level === 'fatal')).toEqual([]);
  });

  /** Throws for an answer that the document does not describe. */
  async function expectDescribed(asked: FuzzRequest, { operationId }: Operation): Promise<void> {
    const { url } = simulated.api.app;
    const { status, headers, text } = await send(agent, url, asked);
    statuses[status] = (statuses[status] ?? 0) + 1;
    try {
      if (status >= 500) throw new Error(`answered ${status}: ${text}`);
      const type = (headers['content-type'] ?? '').split(';')[0]!;
      const isLines = type === 'application/x-ndjson';
      const body: unknown = isLines || /[/+]json$/.test(type) ? JSON.parse(isLines ? text.split('\n')[0]! : text) : text;
      await expectDocumented(url, asked.method, asked.path, { status, headers: new Headers(headers as Record<string, string>) }, body);
      assertConventions(status, headers, body);
      if (status === 200 && typeof (body as { nextCursor?: unknown }).nextCursor === 'string') {
        known.cursors.set(operationId, [...(known.cursors.get(operationId) ?? []), (body as { nextCursor: string }).nextCursor].slice(-6));
      }
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${JSON.stringify(asked).slice(0, 4_000)}`, { cause: error });
    }
  }
});

function assertConventions(status: number, headers: IncomingHttpHeaders, body: unknown): void {
  const id = headers['x-request-id'];
  if (typeof id !== 'string' || !/^[A-Za-z0-9_-]{1,64}$/.test(id)) throw new Error(`no request id: ${String(id)}`);
  if (status < 400) return;
  const problem = body as { status: number; requestId: string };
  if (problem.status !== status || problem.requestId !== id) throw new Error(`the problem is of another answer: ${JSON.stringify(body)}`);
  if (headers['cache-control'] !== 'no-store') throw new Error(`a problem may be kept: ${String(headers['cache-control'])}`);
  if (status === 429 && !/^\d+$/.test(headers['retry-after'] ?? '')) throw new Error('429 without Retry-After');
  if (status === 401 && headers['www-authenticate'] === undefined) throw new Error('401 without WWW-Authenticate');
  if (/SELECT |node_modules|\.js:|pg_/.test(JSON.stringify(body))) throw new Error(`internals: ${JSON.stringify(body)}`);
}

/** Values that something is found by, by the name of the parameter. */
async function knownValues({ api }: Simulated): Promise<Record<string, string[]>> {
  const of = async (path: string, field: string) =>
    (await api.ask<{ items: Record<string, string>[] }>(path)).body.items.map((item) => item[field]!).slice(0, 20);
  for (const label of ['one', 'two', 'three']) {
    const body = JSON.stringify({ label, scopes: ['export'] });
    await api.ask('/api/v1/keys', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
  }
  const ownKeyId = api.key.slice(4, 16);
  return {
    batchId: await of('/api/v1/batches', 'batchId'),
    messageId: await of('/api/v1/messages', 'messageId'),
    'Last-Event-ID': await of('/api/v1/messages', 'messageId'),
    hash: await of('/api/v1/messages', 'messageHash'),
    deviceId: await of('/api/v1/devices', 'deviceId'),
    rejectionId: await of('/api/v1/rejections', 'rejectionId'),
    keyId: (await of('/api/v1/keys', 'keyId')).filter((keyId) => keyId !== ownKeyId),
    key: [api.key],
    broker: ['local'],
    client: await of('/api/v1/brokers/local/clients', 'client'),
    metric: await of('/api/v1/brokers/local/metrics?limit=10', 'metric'),
    topic: await of('/api/v1/brokers/local/subscriptions', 'topic'),
  };
}

/** The request as it is: fetch would tidy it. Rejects when no answer comes, or one that breaks off. */
function send(agent: Agent, url: string, { method, path, headers, body }: FuzzRequest): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    // Of GET and DELETE Node would send a body without saying so.
    const length = body === undefined ? {} : { 'Content-Length': Buffer.byteLength(body) };
    const outgoing = httpRequest(
      { agent, hostname, port, method, path, headers: { ...headers, ...length }, timeout: PATIENCE_MS },
      (response) => {
        const { statusCode: status = 0, headers: received } = response;
        const chunks: Buffer[] = [];
        const done = () => resolve({ status, headers: received, text: Buffer.concat(chunks).toString('utf8') });
        const isUnending = UNENDING.includes((received['content-type'] ?? '').split(';')[0]!);
        response.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          if (!isUnending) return;
          done();
          outgoing.destroy();
        });
        response.on('end', done).on('error', reject);
      },
    );
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${PATIENCE_MS} ms`)));
    outgoing.on('error', (error) => reject(new Error(`${error.message}: ${JSON.stringify({ method, path, headers }).slice(0, 2_000)}`)));
    outgoing.end(body);
  });
}
