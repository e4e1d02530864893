import { Api } from './api.js';

interface Operation {
  summary?: string;
  operationId: string;
  parameters?: { name: string; in: string; schema: Record<string, unknown> }[];
  responses: Record<string, { description: string; content?: Record<string, { schema: object }> }>;
}

describe('OpenAPI and Swagger UI', () => {
  let api: Api;
  let operations: [string, Operation][];

  beforeAll(async () => {
    api = await Api.start();
    const document = (await (await fetch(`${api.app.url}/api/openapi.json`)).json()) as {
      paths: Record<string, Record<string, Operation>>;
    };
    operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]): [string, Operation] => [`${method} ${path}`, operation]),
    );
  });
  afterAll(() => api.stop());

  it('describes the API and nothing else', () => {
    expect(operations.map(([name]) => name).every((name) => name.includes(' /api/v1/'))).toBe(true);
    expect(operations.length).toBeGreaterThanOrEqual(7);
    expect(new Set(operations.map(([, operation]) => operation.operationId)).size).toBe(operations.length);
  });

  it('describes every operation, its success and its failures', () => {
    for (const [name, { summary, responses }] of operations) {
      expect([name, summary]).toEqual([name, expect.stringMatching(/^[A-Z].+\.$/)]);
      const success = Object.entries(responses).find(([status]) => status.startsWith('2'))?.[1];
      expect([name, success?.description]).toEqual([name, expect.stringMatching(/./)]);
      if (responses['204'] === undefined) expect(Object.values(success?.content ?? {})[0]?.schema).toBeDefined();
      expect(Object.keys(responses)).toEqual(expect.arrayContaining(['400', '503']));
    }
  });

  it('serves Swagger UI from its own files alone', async () => {
    const page = await (await fetch(`${api.app.url}/api/docs`)).text();
    const references = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1]!);
    expect(references.filter((reference) => !reference.startsWith('./'))).toEqual(
      references.filter((reference) => reference.startsWith('#')),
    );
    for (const reference of references.filter((candidate) => candidate.startsWith('./'))) {
      expect((await fetch(new URL(reference, `${api.app.url}/api/docs`))).status).toBe(200);
    }
    expect(await (await fetch(`${api.app.url}/api/docs/swagger-ui-init.js`)).text()).toContain('"validatorUrl": null');
  });

  it('leads from / to the documentation', async () => {
    const response = await fetch(api.app.url, { redirect: 'manual' });
    expect([response.status, response.headers.get('location')]).toEqual([302, '/api/docs']);
  });
});
