import { createHash } from 'node:crypto';
import { Api } from './api.js';
import { type BatchRow, insertBatch } from './rows.js';

describe('reading', () => {
  let api: Api;
  let sealed: BatchRow;
  let pending: BatchRow;
  let foreign: BatchRow;
  const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000);

  beforeAll(async () => {
    api = await Api.start();
    const payloads = [
      '{"kwh": 15.7, "huge": 1e400, "id": 12345678901234567890}',
      '{"a": "\\u0000"}',
      Buffer.from([0xff, 0x00, 0x3c]),
      'null',
      '[]',
    ];
    sealed = await insertBatch(api.sql, { startAt: minutesAgo(30), deviceIds: ['SENSOR_001', 'SENSOR_002'], payloads });
    pending = await insertBatch(api.sql, { startAt: minutesAgo(10), status: 'pending' });
    foreign = await insertBatch(api.sql, { startAt: minutesAgo(20), tenantId: 'factory2' });
    await insertBatch(api.sql, { startAt: new Date('2026-01-01T00:00:00Z'), tenantId: 'factory3', deviceIds: ['OLD'] });
  });
  afterAll(() => api.stop());

  const ids = (items: unknown, key: string) => (items as Record<string, unknown>[]).map((item) => item[key]);
  const list = async (path: string, key: string) => ids((await api.ask(path)).body['items'], key);

  // Node's fetch adds `no-cache` beside If-None-Match unless Cache-Control is given.
  const revalidated = (path: string, etag: string) => api.fetch(path, { headers: { 'If-None-Match': etag, 'Cache-Control': 'max-age=0' } });

  it('lists batches, recent first, by status, tenant and time', async () => {
    expect((await list('/api/v1/batches', 'batchId')).slice(0, 3)).toEqual([pending.batchId, foreign.batchId, sealed.batchId]);
    expect(await list('/api/v1/batches?status=pending', 'batchId')).toEqual([pending.batchId]);
    expect(await list('/api/v1/batches?tenantId=factory2&status=complete', 'batchId')).toEqual([foreign.batchId]);
    const range = `from=${foreign.createdAt.toISOString()}&to=${pending.createdAt.toISOString()}`;
    expect(await list(`/api/v1/batches?${range}`, 'batchId')).toEqual([foreign.batchId]);
  });

  it('tells the age of a pending batch and hides its hash until it is sealed', async () => {
    const { body } = await api.ask<{ items: Record<string, unknown>[] }>('/api/v1/batches');
    expect(body.items[0]).toMatchObject({ status: 'pending', batchHash: null, sealedAt: null });
    expect(body.items[0]!['ageMs']).toBeGreaterThanOrEqual(600_000);
    expect(body.items[2]).toMatchObject({ status: 'complete', batchHash: sealed.root, ageMs: null, closeReason: 'size', logIndex: null });
  });

  it('shows a batch with devices, size and the rows that are there', async () => {
    const { status, headers, body } = await api.ask(`/api/v1/batches/${sealed.batchId}`);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      messageCount: 5,
      actualMessageCount: 5,
      sizeBytes: String(sealed.messages.reduce((sum, message) => sum + message.payload.length, 0)),
      devices: [
        { deviceId: 'SENSOR_001', messageCount: 3 },
        { deviceId: 'SENSOR_002', messageCount: 2 },
      ],
      openRoot: sealed.root,
      startTimestamp: sealed.createdAt.toISOString(),
    });
    expect(headers.get('etag')).toMatch(/^"/);
    expect((await revalidated(`/api/v1/batches/${sealed.batchId}`, headers.get('etag')!)).status).toBe(304);
  });

  it('lists the messages of a batch in leaf order', async () => {
    const path = `/api/v1/batches/${sealed.batchId}/messages`;
    expect(await list(path, 'leafIndex')).toEqual([0, 1, 2, 3, 4]);
    expect((await api.pages(`${path}?limit=2`)).map((page) => ids(page, 'leafIndex'))).toEqual([[0, 1], [2, 3], [4]]);
  });

  it('lists messages by batch from its last leaf to its first, also within a time', async () => {
    const path = `/api/v1/messages?batchId=${sealed.batchId}`;
    expect(await list(path, 'leafIndex')).toEqual([4, 3, 2, 1, 0]);
    expect((await api.pages(`${path}&limit=2`)).map((page) => ids(page, 'leafIndex'))).toEqual([[4, 3], [2, 1], [0]]);
    const [, second, , fourth] = sealed.messages.map((message) => message.receivedAt.toISOString());
    const within = `${path}&from=${second}&to=${fourth}&limit=1`;
    expect((await api.pages(within)).map((page) => ids(page, 'leafIndex'))).toEqual([[2], [1]]);
  });

  it('finds a message by the SHA-256 of its bytes', async () => {
    const message = sealed.messages[0]!;
    expect(await list(`/api/v1/messages?hash=${message.messageHash.toUpperCase()}`, 'messageId')).toEqual([message.messageId]);
  });

  it('shows a payload’s numbers exactly and says why there is no JSON', async () => {
    const response = await api.fetch(`/api/v1/messages?batchId=${sealed.batchId}`);
    const text = await response.text();
    expect(text).toContain('{"kwh": 15.7, "huge": 1e400, "id": 12345678901234567890}');
    const { items } = JSON.parse(text) as { items: { rawData: unknown; rawDataError: unknown }[] };
    expect(items.map(({ rawDataError }) => rawDataError)).toEqual([null, null, 'not JSON', 'not JSON', null]);
    expect(items.slice(0, 2).map(({ rawData }) => rawData)).toEqual([[], null]);
  });

  it('lists messages by device, tenant, batch and time; the last 24 hours when nothing narrows it', async () => {
    const recent = [...pending.messages.toReversed(), ...foreign.messages.toReversed(), ...sealed.messages.toReversed()];
    expect(await list('/api/v1/messages', 'messageId')).toEqual(recent.map((message) => message.messageId));
    expect(await list('/api/v1/messages?tenantId=factory2', 'messageId')).toEqual(ids(foreign.messages.toReversed(), 'messageId'));
    expect(await list('/api/v1/messages?deviceId=SENSOR_002', 'leafIndex')).toEqual([3, 1]);
    expect(await list('/api/v1/messages?deviceId=SENSOR_001', 'messageId')).toEqual(
      recent.filter((message) => message.deviceId === 'SENSOR_001').map((message) => message.messageId),
    );
    expect(await list('/api/v1/messages?deviceId=nobody', 'messageId')).toEqual([]);
    expect(await list('/api/v1/messages?tenantId=factory3', 'messageId')).toEqual([]);
    expect(await list('/api/v1/messages?deviceId=OLD', 'messageId')).toHaveLength(3);
    const [first, second, third] = pending.messages.map((message) => message.receivedAt.toISOString());
    expect(await list(`/api/v1/messages?from=${first}&to=${third}`, 'receivedAt')).toEqual([second, first]);
    expect(await list(`/api/v1/messages?deviceId=SENSOR_001&from=${second}`, 'receivedAt')).toEqual([third, second]);
  });

  it('shows a message with its batch', async () => {
    const { body } = await api.ask(`/api/v1/messages/${sealed.messages[1]!.messageId.toUpperCase()}`);
    expect(body).toMatchObject({
      messageId: sealed.messages[1]!.messageId,
      nonce: sealed.messages[1]!.nonce.toString('hex'),
      rawData: null,
      rawDataError: 'not JSON',
      deviceSeq: null,
      packetId: 7,
      batch: { status: 'complete', batchHash: sealed.root, logIndex: null },
    });
  });

  it.each([0, 1, 2])('gives back the exact bytes of payload %i, never to be shown as a page', async (at) => {
    const { messageId, payload, messageHash } = sealed.messages[at]!;
    const response = await api.fetch(`/api/v1/messages/${messageId}/payload`);
    expect(Buffer.from(await response.arrayBuffer())).toEqual(payload);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-disposition': `attachment; filename=${messageId}.bin`,
      'x-content-type-options': 'nosniff',
      'cache-control': 'private, max-age=31536000, immutable',
      etag: `"${messageHash}"`,
    });
    expect((await revalidated(`/api/v1/messages/${messageId}/payload`, `"${messageHash}"`)).status).toBe(304);
  });

  it('does not vouch for altered bytes', async () => {
    const { messageId } = (await insertBatch(api.sql, { tenantId: 'altered', startAt: minutesAgo(5) })).messages[0]!;
    await api.sql.query(`UPDATE messages SET payload = 'altered' WHERE message_id = $1`, [messageId]);
    const response = await api.fetch(`/api/v1/messages/${messageId}/payload`);
    expect(response.headers.get('etag')).toBe(`"${createHash('sha256').update('altered').digest('hex')}"`);
    expect(response.headers.get('cache-control')).toBe('no-store');
  });

  it('lists devices by tenant and site', async () => {
    const { body } = await api.ask<{ items: object[] }>('/api/v1/devices?tenantId=factory1');
    expect(body.items).toHaveLength(2);
    expect(body.items).toContainEqual(
      expect.objectContaining({ deviceId: 'SENSOR_001', siteId: 'line1', messageCount: '6', publicKey: null }),
    );
    expect(await list('/api/v1/devices?tenantId=factory1&siteId=elsewhere', 'deviceId')).toEqual([]);
  });

  it('pages through every list without loss or repetition', async () => {
    for (const [path, key] of [
      ['/api/v1/batches', 'batchId'],
      ['/api/v1/messages', 'messageId'],
      ['/api/v1/messages?deviceId=SENSOR_001', 'messageId'],
      ['/api/v1/devices', 'tenantId'],
    ] as const) {
      const whole = await list(path, key);
      expect(whole.length).toBeGreaterThan(3);
      const pages = await api.pages(`${path}${path.includes('?') ? '&' : '?'}limit=2`);
      expect(pages.slice(0, -1).every((page) => page.length === 2)).toBe(true);
      expect(pages.flatMap((page) => ids(page, key))).toEqual(whole);
    }
  });

  it('cuts a page of large payloads short and goes on behind it', async () => {
    const payloads = Array.from({ length: 40 }, (_, at) => JSON.stringify({ at, text: 'x'.repeat(250_000) }));
    const large = await insertBatch(api.sql, { tenantId: 'large', deviceIds: ['LARGE'], payloads, startAt: minutesAgo(3) });
    const pages = await api.pages(`/api/v1/batches/${large.batchId}/messages?limit=500`);
    expect(pages.length).toBeGreaterThan(1);
    expect(pages.flatMap((page) => ids(page, 'leafIndex'))).toEqual(payloads.map((_, at) => at));
  });

  it('lists what was altered into bytes that are no text, without them', async () => {
    const batch = await insertBatch(api.sql, { tenantId: 'altered', payloads: ['{"a":1}', '{"a":2}'], startAt: minutesAgo(5) });
    const [altered] = batch.messages;
    await api.sql.query(`UPDATE messages SET payload = '\\xff' WHERE message_id = $1`, [altered!.messageId]);
    const { status, body } = await api.ask<{ items: { rawData: unknown }[] }>(`/api/v1/batches/${batch.batchId}/messages`);
    expect([status, body.items.map(({ rawData }) => rawData)]).toEqual([200, [null, { a: 2 }]]);
  });

  it('is not brought down by a small payload whose numbers are enormous when written out', async () => {
    const payload = `[${Array.from({ length: 20_000 }, () => '1e131071').join()}]`;
    const { batchId } = await insertBatch(api.sql, { tenantId: 'bomb', payloads: [payload], startAt: minutesAgo(4) });
    const response = await api.fetch(`/api/v1/batches/${batchId}/messages`);
    expect([response.status, (await response.text()).length < 200_000]).toEqual([200, true]);
    const { body } = await api.ask(`/api/v1/batches/${batchId}/verify`, { method: 'POST' });
    expect(body).toMatchObject({ isValid: true });
  });

  it('goes on where it was when newer rows arrive between pages', async () => {
    const before = await list('/api/v1/batches?tenantId=factory1', 'batchId');
    const first = await api.ask<{ items: object[]; nextCursor: string }>('/api/v1/batches?tenantId=factory1&limit=1');
    await insertBatch(api.sql, { startAt: new Date() });
    const rest = await api.pages(`/api/v1/batches?tenantId=factory1&limit=1&cursor=${first.body.nextCursor}`);
    expect([...ids(first.body.items, 'batchId'), ...rest.flatMap((page) => ids(page, 'batchId'))]).toEqual(before);
  });
});
