import { Api, makeKey } from './api.js';
import { type BatchRow, insertBatch } from './rows.js';

interface List {
  items: { messageId: string }[];
  code: string;
  errors: { parameter: string; detail: string }[];
}

const DAY_MS = 86_400_000;

describe('searching messages', () => {
  let api: Api;
  let ours: BatchRow;
  let theirs: BatchRow;
  let old: BatchRow;
  let tenant: RequestInit;

  beforeAll(async () => {
    api = await Api.start();
    const payloads = [
      '{"kwh":1,"metadata":{"firmware_version":"2.1.0","signal":-45},"tags":["a","b"]}',
      '{"kwh":2,"metadata":{"firmware_version":"2.2.0"}}',
      'no JSON',
      '[1,{"kwh":1}]',
    ];
    ours = await insertBatch(api.sql, { payloads, deviceIds: ['METER'] });
    theirs = await insertBatch(api.sql, { payloads, tenantId: 'factory2', startAt: new Date(Date.now() - 120_000) });
    old = await insertBatch(api.sql, { payloads, deviceIds: ['METER'], startAt: new Date(Date.now() - 10 * DAY_MS) });
    await api.sql.query(`UPDATE messages SET site_id = 'line2' WHERE message_id = $1`, [ours.messages[1]!.messageId]);
    tenant = { headers: { Authorization: `Bearer ${await makeKey(api.sql, { tenantId: 'factory1' })}` } };
  });
  afterAll(() => api.stop());

  const ask = (query: string, init?: RequestInit) => api.ask<List>(`/api/v1/messages?${query}`, init);
  const found = async (query: string, init?: RequestInit) => {
    const { status, body } = await ask(query, init);
    expect([status, body.code]).toEqual([200, undefined]);
    return body.items.map(({ messageId }) => messageId);
  };
  const data = (value: unknown) => `data=${encodeURIComponent(typeof value === 'string' ? value : JSON.stringify(value))}`;
  const id = (batch: BatchRow, at: number) => batch.messages[at]!.messageId;

  it('finds those of a site', async () => {
    expect(await found('siteId=line2')).toEqual([id(ours, 1)]);
    expect(await found('siteId=line2', tenant)).toEqual([id(ours, 1)]);
    expect(await found('siteId=line1', tenant)).toEqual([id(ours, 3), id(ours, 2), id(ours, 0)]);
    expect(await found('siteId=line1&deviceId=METER', tenant)).toHaveLength(7);
    expect(await found('siteId=nowhere')).toEqual([]);
  });

  it('finds those whose JSON contains another, as a tenant and as the platform', async () => {
    for (const value of [{ kwh: 1 }, { metadata: { firmware_version: '2.1.0' } }, { tags: ['b'] }, '{"kwh": 1.0}']) {
      expect(await found(data(value))).toEqual([id(ours, 0), id(theirs, 0)]);
      expect(await found(data(value), tenant)).toEqual([id(ours, 0)]);
      expect(await found(`${data(value)}&tenantId=factory2`)).toEqual([id(theirs, 0)]);
      expect(await found(`${data(value)}&tenantId=factory2`, tenant)).toEqual([]);
      expect(await found(`${data(value)}&siteId=line2`)).toEqual([]);
      expect(await found(`${data(value)}&deviceId=METER`)).toEqual([id(ours, 0), id(old, 0)]);
      expect(await found(`${data(value)}&deviceId=METER`, tenant)).toEqual([id(ours, 0), id(old, 0)]);
      expect(await found(`${data(value)}&batchId=${old.batchId}`, tenant)).toEqual([id(old, 0)]);
      expect(await found(`${data(value)}&hash=${ours.messages[0]!.messageHash}`, tenant)).toEqual([id(ours, 0), id(old, 0)]);
    }
    expect(await found(data([{ kwh: 1 }]))).toEqual([id(ours, 3), id(theirs, 3)]);
    expect(await found(data({ kwh: '1' }))).toEqual([]);
    expect(await found(data({ "' OR 1=1 --": 1 }))).toEqual([]);
  });

  it('goes on from page to page', async () => {
    const path = `/api/v1/messages?limit=1&from=${old.createdAt.toISOString()}&${data({ metadata: { firmware_version: '2.1.0' } })}`;
    const pages = await api.pages<{ messageId: string }>(path);
    expect(pages.flat().map(({ messageId }) => messageId)).toEqual([id(ours, 0), id(theirs, 0), id(old, 0)]);
  });

  it('wants a tenant to say where in more than a day', async () => {
    const at = (daysAgo: number) => new Date(Date.now() - daysAgo * DAY_MS).toISOString();
    const wide = `from=${at(2)}&${data({ kwh: 1 })}`;
    expect((await ask(wide, tenant)).body).toMatchObject({ code: 'INVALID_PARAMETER', errors: [{ parameter: 'data' }] });
    expect((await ask(`tenantId=factory1&siteId=line1&${wide}`, tenant)).status).toBe(400);
    expect(await found(wide)).toEqual([id(ours, 0), id(theirs, 0)]);
    expect(await found(`deviceId=METER&${wide}`, tenant)).toEqual([id(ours, 0)]);
    expect(await found(`from=${at(1)}&${data({ kwh: 1 })}`, tenant)).toEqual([id(ours, 0)]);
    expect(await found(`from=${at(10.5)}&to=${at(9.5)}&${data({ kwh: 1 })}`, tenant)).toEqual([id(old, 0)]);
    expect(await found(`to=${at(9.5)}&${data({ kwh: 1 })}`, tenant)).toEqual([id(old, 0)]);
  });

  it.each([
    [''],
    ['{'],
    ['kwh=1'],
    ['1'],
    ['null'],
    ['{}'],
    ['{"a":[]}'],
    ['{"a":"\\u0000"}'],
    ['{"a":1e200000}'],
    ['{"a":"\\ud800"}'],
    [JSON.stringify({ a: 'x'.repeat(2_100) })],
  ])('refuses %.20s', async (text) => {
    for (const [where, init] of [['deviceId=METER&', {}] as const, ['', {}] as const, ['deviceId=METER&', tenant] as const]) {
      const { status, body } = await ask(where + data(text), init);
      expect([status, body.code, body.errors.map(({ parameter }) => parameter)]).toEqual([400, 'INVALID_PARAMETER', ['data']]);
    }
  });

  it('refuses a filter given twice, and one of no site', async () => {
    expect((await ask(`${data({ a: 1 })}&${data({ a: 1 })}`)).status).toBe(400);
    expect((await ask('siteId=')).status).toBe(400);
    expect((await ask('siteId=a&siteId=b')).status).toBe(400);
  });
});
