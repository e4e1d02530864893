import { expectDocumented, type Operation, operationsOf } from './documented.js';
import { type Simulated, startSimulated } from './simulated.js';

/** Parameters without an example: what they take is only known once something was asked. */
const KNOWN_LATER = ['cursor', 'Last-Event-ID'];
/** Of a list, the items that a link of it is for, where that is not any of them. */
const LINKED_FROM: Record<string, string> = { '/api/v1/rejections': '?status=new', '/api/v1/batches': '?status=complete' };
/** An operation that takes away what others need comes last. */
const ORDER = ['POST', 'GET', 'PATCH', 'DELETE'];

interface Described {
  method: string;
  path: string;
  operation: Operation;
}

interface Asked {
  status: number;
  headers: Headers;
  text: string;
  body: unknown;
}

describe('the examples of the OpenAPI document', () => {
  let simulated: Simulated;
  let operations: Described[];

  beforeAll(async () => {
    simulated = await startSimulated();
    operations = await operationsOf(simulated.api.app.url);
    operations.sort((a, b) => ORDER.indexOf(a.method) - ORDER.indexOf(b.method));
  }, 60_000);
  afterAll(() => simulated.stop());

  /** Asks, checks the answer against the document, line by line where it is a file; a stream is left after its first bytes. */
  async function ask(method: string, path: string, init: RequestInit = {}): Promise<Asked> {
    const leave = new AbortController();
    const { api } = simulated;
    const response = await api.fetch(path, { method, signal: leave.signal, ...init });
    const type = (response.headers.get('content-type') ?? '').split(';')[0]!;
    const text = type === 'text/event-stream' ? await firstBytes(response, leave) : await response.text();
    if (type === 'application/x-ndjson') {
      for (const line of text.trim().split('\n')) await expectDocumented(api.app.url, method, path, response, JSON.parse(line));
    } else {
      await expectDocumented(api.app.url, method, path, response, jsonOf(type, text));
    }
    return { status: response.status, headers: response.headers, text, body: jsonOf(type, text) };
  }

  /** The path with its parameters: those that a list links, or else their examples. */
  async function filledPath({ path, operation }: Described): Promise<string> {
    let filled = path;
    for (const { name, example, schema } of (operation.parameters ?? []).filter((parameter) => parameter.in === 'path')) {
      filled = filled.replace(
        `{${name}}`,
        encodeURIComponent((await linked(operation.operationId, name)) ?? String(example ?? schema.example)),
      );
    }
    return filled;
  }

  async function linked(operationId: string, name: string): Promise<string | undefined> {
    for (const { method, path, operation } of operations) {
      const expression = operation.responses['200']?.links?.[operationId]?.parameters[name];
      const pointer = /^\$response\.body#\/(.+)$/.exec(expression ?? '')?.[1];
      if (pointer === undefined) continue;
      const { body } = await ask(method, path + (LINKED_FROM[path] ?? ''));
      return pointer.split('/').reduce<unknown>((value, key) => (value as Record<string, unknown>)[key], body) as string;
    }
    return undefined;
  }

  const exampleBody = ({ operation }: Described): RequestInit => {
    const { properties = {} } = operation.requestBody?.content['application/json'].schema ?? {};
    const body = Object.fromEntries(Object.entries(properties).map(([name, { example }]) => [name, example]));
    // The example of a key is none that works, on purpose.
    if (operation.operationId === 'session_signIn') body['key'] = simulated.api.key;
    return operation.requestBody ? { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) } : {};
  };

  const exampleQuery = ({ operation }: Described, isWanted: (required: boolean) => boolean): URLSearchParams => {
    const query = new URLSearchParams();
    for (const { name, example, schema, required = false, ...parameter } of operation.parameters ?? []) {
      if (parameter.in !== 'query' || KNOWN_LATER.includes(name) || !isWanted(required)) continue;
      for (const value of [example ?? schema.example].flat()) query.append(name, String(value));
    }
    return query;
  };

  it('are there: an operation has summary, description and tag, each parameter and body field an example', () => {
    const lacking: unknown[] = [];
    for (const { method, path, operation } of operations) {
      const { summary, description, tags, parameters = [], requestBody } = operation;
      if (!summary || !description || tags?.length !== 1) lacking.push([method, path]);
      for (const { name, example, schema } of parameters) {
        if ((example ?? schema.example) === undefined && !KNOWN_LATER.includes(name)) lacking.push([method, path, name]);
      }
      for (const [name, { example }] of Object.entries(requestBody?.content['application/json'].schema.properties ?? {})) {
        if (example === undefined) lacking.push([method, path, name]);
      }
    }
    expect(lacking).toEqual([]);
  });

  it.each([
    ['that are required', (required: boolean) => required],
    ['all at once', () => true],
  ])(
    'succeed with the parameters %s',
    async (_, isWanted) => {
      const failures: unknown[] = [];
      for (const described of operations) {
        const path = `${await filledPath(described)}?${exampleQuery(described, isWanted).toString()}`;
        const { status, text } = await ask(described.method, path.replace(/\?$/, ''), exampleBody(described));
        if (status < 200 || status > 299) failures.push([described.method, path, status, text]);
      }
      expect(failures).toEqual([]);
      expect(operations.length).toBeGreaterThanOrEqual(28);
    },
    60_000,
  );

  it('find something: what is simulated has the names of the examples', async () => {
    for (const path of [
      '/api/v1/devices?tenantId=factory1&siteId=line1',
      '/api/v1/messages?tenantId=factory1&siteId=line1&deviceId=METER_0001&data=%7B%22deviceId%22%3A%22METER_0001%22%7D',
      '/api/v1/batches?status=complete',
      '/api/v1/rejections?status=new&reason=not_json',
      '/api/v1/brokers/local/clients?client=ingest-bridge-1&clientPrefix=ingest-',
      '/api/v1/brokers/local/subscriptions?topic=veep%2F%2B%2F%2B%2F%2B%2Fdata',
      '/api/v1/brokers/local/subscriptions/match?topic=veep%2Ffactory1%2Fline1%2FMETER_0001%2Fdata',
    ]) {
      const { body } = await ask('GET', path);
      expect([path, (body as { items: unknown[] }).items.length > 0]).toEqual([path, true]);
    }
    const { body } = await ask('GET', '/api/v1/brokers/local/metrics/clients%2Fconnected/series');
    expect((body as { points: unknown[] }).points.length).toBeGreaterThan(0);
  });

  it('have pages behind each other, also in the Link header, where there is a cursor', async () => {
    let followed = 0;
    for (const described of operations) {
      if (!described.operation.parameters?.some(({ name }) => name === 'cursor')) continue;
      const query = exampleQuery(described, (required) => required);
      query.set('limit', '1');
      const path = await filledPath(described);
      const { headers, body } = await ask('GET', `${path}?${query.toString()}`);
      const { nextCursor } = body as { nextCursor: string | null };
      const next = /^<(.+)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1];
      expect([path, next === undefined]).toEqual([path, nextCursor === null]);
      if (next === undefined) continue;
      expect((await ask('GET', next)).status).toBe(200);
      followed += 1;
    }
    expect(followed).toBeGreaterThanOrEqual(8);
  });

  it('come with the headers of their kind: a strong ETag, and who may keep what', async () => {
    const wrong: unknown[] = [];
    for (const described of operations.filter(({ method }) => method === 'GET')) {
      const path = `${await filledPath(described)}?${exampleQuery(described, (required) => required).toString()}`.replace(/\?$/, '');
      const { headers } = await ask('GET', path);
      const etag = headers.get('etag');
      const kept = headers.get('cache-control');
      // Node's fetch adds `no-cache` beside If-None-Match unless Cache-Control is given.
      const again = etag === null ? null : await ask('GET', path, { headers: { 'If-None-Match': etag, 'Cache-Control': 'max-age=0' } });
      const expected = expectedOf(described.path);
      const seen = [kept, etag === null ? null : /^"[^"]+"$/.test(etag), again?.status ?? null];
      if (expected.every((value, at) => value === undefined || value === seen[at])) continue;
      wrong.push([described.path, seen, expected]);
    }
    expect(wrong).toEqual([]);
  });

  it('are told apart by a link from each list to what is below it', () => {
    const ofLists = operations.flatMap(({ operation }) => Object.keys(operation.responses['200']?.links ?? {}));
    const withId = operations
      .filter(({ path }) => /\{(batch|message|device|rejection|key)Id\}/.test(path))
      .map(({ operation }) => operation.operationId);
    expect(ofLists).toEqual(expect.arrayContaining(withId));
  });
});

/** Cache-Control, whether there is a strong ETag, and the answer to it; undefined: either way. */
function expectedOf(path: string): [string, boolean | null | undefined, number | null | undefined] {
  if (path === '/api/v1/messages/{messageId}/payload') return ['private, max-age=31536000, immutable', true, 304];
  if (path === '/api/v1/rejections/{rejectionId}/payload') return ['no-store', true, 304];
  if (path === '/api/v1/stream' || path.startsWith('/api/v1/export/')) return ['no-store', null, null];
  // Its open session lasts longer each time.
  if (path.endsWith('/{client}')) return ['no-cache', true, undefined];
  if (path.endsWith('}')) return ['no-cache', true, 304];
  return ['no-store', null, null];
}

async function firstBytes(response: Response, leave: AbortController): Promise<string> {
  const { value } = await response.body!.getReader().read();
  leave.abort();
  return new TextDecoder().decode(value as Uint8Array);
}

function jsonOf(type: string, text: string): unknown {
  return /[/+]json$/.test(type) && text !== '' ? JSON.parse(text) : text;
}
