import { generateKeyPairSync } from 'node:crypto';
import { Api, makeKey } from './api.js';
import { type BatchRow, insertBatch } from './rows.js';

interface Device {
  tenantId: string;
  publicKey: string | null;
  code: string;
  errors: { parameter: string; detail: string }[];
  last24Hours: { messages: string; firstReceivedAt: string | null; lastReceivedAt: string | null; messagesPerMinute: number };
  last7Days: Device['last24Hours'];
  recent: { messages: number; lag: object | null; sequence: { gaps: object[] } | null };
}

const HOUR_MS = 3_600_000;
const KEY = '2o5j4p53KtAJTRmvC7xDcMTtigqXhduibVDb92hWXsQv';
const JSON_TYPE = { 'Content-Type': 'application/json' };

describe('a device', () => {
  let api: Api;
  let recent: BatchRow;
  let older: BatchRow;
  const hoursAgo = (hours: number) => new Date(Date.now() - hours * HOUR_MS);

  beforeAll(async () => {
    api = await Api.start();
    await insertBatch(api.sql, { deviceIds: ['METER'], startAt: hoursAgo(10 * 24) });
    older = await insertBatch(api.sql, { deviceIds: ['METER'], startAt: hoursAgo(3 * 24) });
    recent = await insertBatch(api.sql, { deviceIds: ['METER'], startAt: hoursAgo(1), payloads: ['1', '2', '3', '4', '5', '6'] });
    await insertBatch(api.sql, { tenantId: 'factory2', deviceIds: ['METER', 'ONLY_THEIRS'], payloads: ['1', '2'] });
  });
  afterAll(() => api.stop());

  const ask = (path: string, init?: RequestInit) => api.ask<Device>(`/api/v1/devices/${path}`, init);
  const asTenant = async (tenantId: string) => ({ headers: { Authorization: `Bearer ${await makeKey(api.sql, { tenantId })}` } });
  const set = (publicKey: unknown, path = 'METER?tenantId=factory1') =>
    ask(path, { method: 'PATCH', headers: JSON_TYPE, body: JSON.stringify({ publicKey }) });

  it('shows what it has sent in 24 hours and 7 days', async () => {
    const { status, headers, body } = await ask('METER?tenantId=factory1');
    expect([status, headers.get('cache-control')]).toEqual([200, 'no-cache']);
    const [first, last] = [recent.messages[0]!, recent.messages.at(-1)!].map(({ receivedAt }) => receivedAt.toISOString());
    expect(body).toMatchObject({
      tenantId: 'factory1',
      deviceId: 'METER',
      siteId: 'line1',
      messageCount: '12',
      last24Hours: { messages: '6', firstReceivedAt: first, lastReceivedAt: last, messagesPerMinute: 0.004 },
      last7Days: { messages: '9', firstReceivedAt: older.messages[0]!.receivedAt.toISOString(), lastReceivedAt: last },
      recent: { messages: 12, lag: null, sequence: null },
    });
    expect(body.last7Days.messagesPerMinute).toBe(0.001);
  });

  it('of which nothing is there any more shows nothing', async () => {
    await api.sql.query(`INSERT INTO devices (tenant_id, device_id, site_id) VALUES ('factory1', 'SILENT', 'line1')`);
    const none = { messages: '0', firstReceivedAt: null, lastReceivedAt: null, messagesPerMinute: 0 };
    expect((await ask('SILENT')).body).toMatchObject({
      lastSeen: null,
      last24Hours: none,
      last7Days: none,
      recent: { messages: 0, lag: null, sequence: null },
    });
  });

  it('that has just appeared has the rate of its time, not of the day', async () => {
    await insertBatch(api.sql, { tenantId: 'young', deviceIds: ['YOUNG'], startAt: new Date(Date.now() - 120_000) });
    const { messagesPerMinute } = (await ask('YOUNG')).body.last24Hours;
    expect(messagesPerMinute).toBeGreaterThan(1.2);
    expect(messagesPerMinute).toBeLessThanOrEqual(1.5);
  });

  it('shows how late its messages are', async () => {
    const lagsMs = [500, 1_000, 2_000, -250, 700];
    for (const [at, lagMs] of lagsMs.entries()) {
      const { messageId, receivedAt } = recent.messages[at]!;
      const sentAt = new Date(receivedAt.getTime() - lagMs);
      await api.sql.query(`UPDATE messages SET device_timestamp = $2 WHERE message_id = $1`, [messageId, sentAt]);
    }
    expect((await ask('METER?tenantId=factory1')).body.recent.lag).toEqual({ lastMs: 700, minMs: -250, medianMs: 700, maxMs: 2_000 });
  });

  it('shows the numbers that are missing in its counter, whatever the order they came in', async () => {
    const sequence = async (numbers: (string | null)[]) => {
      for (const [at, seq] of numbers.entries())
        await api.sql.query(`UPDATE messages SET device_seq = $2 WHERE message_id = $1`, [recent.messages[at]!.messageId, seq]);
      return (await ask('METER?tenantId=factory1')).body.recent.sequence;
    };
    expect(await sequence(['10', '12', '11', '13', '13', null])).toEqual({ first: '10', last: '13', missing: '0', gapCount: 0, gaps: [] });
    expect(await sequence(['10', '12', '20', '13', null, '0'])).toEqual({
      ...{ first: '0', last: '20', missing: '16', gapCount: 3 },
      gaps: [
        { after: '13', before: '20', missing: '6' },
        { after: '10', before: '12', missing: '1' },
        { after: '0', before: '10', missing: '9' },
      ],
    });
    const extremes = await sequence(['-9223372036854775808', '9223372036854775807', null, null, null, null]);
    expect(extremes).toMatchObject({ missing: '18446744073709551614', gapCount: 1 });
  });

  it('looks at its newest 200 messages, and names the 100 highest gaps', async () => {
    const payloads = Array.from({ length: 201 }, (_, at) => `{"at":${at}}`);
    await insertBatch(api.sql, { tenantId: 'busy', deviceIds: ['BUSY'], payloads });
    await api.sql.query(`UPDATE messages SET device_seq = 2 * leaf_index WHERE tenant_id = 'busy'`);
    const { messages, sequence } = (await ask('BUSY')).body.recent;
    expect(messages).toBe(200);
    expect(sequence).toMatchObject({ first: '2', last: '400', missing: '199', gapCount: 199 });
    expect(sequence!.gaps).toHaveLength(100);
    expect(sequence!.gaps[0]).toEqual({ after: '398', before: '400', missing: '1' });
  });

  it('is one of several of its name, and a key of the platform says of which tenant', async () => {
    const { status, body } = await ask('METER');
    expect([status, body.code, body.errors[0]]).toEqual([
      400,
      'INVALID_PARAMETER',
      { parameter: 'tenantId', detail: 'is needed here: several tenants have a device of this id' },
    ]);
    expect((await ask('METER?tenantId=factory2')).body.tenantId).toBe('factory2');
    expect((await ask('METER', await asTenant('factory1'))).body.tenantId).toBe('factory1');
    expect((await set(KEY, 'METER')).status).toBe(400);
  });

  it('of another tenant is not there, as one that nobody has', async () => {
    const tenant = await asTenant('factory1');
    const problem = async (path: string, init: RequestInit = {}) => {
      const headers = { ...tenant.headers, ...JSON_TYPE };
      const { status, body } = await ask(path, { ...init, headers });
      return { status, ...body, instance: '', requestId: '' };
    };
    const change = { method: 'PATCH', body: JSON.stringify({ publicKey: KEY }) };
    for (const init of [{}, change]) {
      const nobody = await problem('NOBODY', init);
      expect(nobody).toMatchObject({ status: 404, code: 'DEVICE_NOT_FOUND' });
      expect(await problem('ONLY_THEIRS', init)).toEqual(nobody);
      expect(await problem('METER?tenantId=factory2', init)).toEqual(nobody);
    }
    expect((await ask('NOBODY')).body.code).toBe('DEVICE_NOT_FOUND');
    const { rows } = await api.sql.query(`SELECT FROM devices WHERE public_key IS NOT NULL AND tenant_id = 'factory2'`);
    expect(rows).toEqual([]);
  });

  it.each(['METER?tenantId=', 'METER?tenant=factory1', '%00', 'x'.repeat(101), 'METER?tenantId=a&tenantId=b'])(
    'refuses %.40s',
    async (path) => {
      for (const init of [{}, { method: 'PATCH', headers: JSON_TYPE, body: JSON.stringify({ publicKey: KEY }) }])
        expect((await ask(path, init)).body.code).toBe('INVALID_PARAMETER');
    },
  );

  it('is found whatever its topic called it', async () => {
    const deviceId = 'ä %2F?#"\'</script>';
    await insertBatch(api.sql, { tenantId: 'odd', deviceIds: [deviceId] });
    expect((await ask(encodeURIComponent(deviceId))).body).toMatchObject({ deviceId, last24Hours: { messages: '3' } });
  });

  it('gets a public key, loses it again, and both acts are in the audit log', async () => {
    const key = await makeKey(api.sql, { tenantId: 'factory1', scopes: ['devices:write'] });
    const change = (publicKey: string | null) =>
      ask('METER', {
        method: 'PATCH',
        headers: { ...JSON_TYPE, Authorization: `Bearer ${key}`, 'X-Request-Id': 'change-1' },
        body: JSON.stringify({ publicKey }),
      });
    expect((await change(KEY)).body).toMatchObject({ tenantId: 'factory1', publicKey: KEY });
    expect((await ask('METER?tenantId=factory1')).body.publicKey).toBe(KEY);
    expect((await ask('METER?tenantId=factory2')).body.publicKey).toBeNull();
    expect((await change(null)).body.publicKey).toBeNull();
    const { rows } = await api.sql.query(
      `SELECT actor, action, object, details, request_id FROM audit_log WHERE actor = $1 ORDER BY entry_id`,
      [`key:${key.slice(4, 16)}`],
    );
    const act = { actor: `key:${key.slice(4, 16)}`, action: 'device.set_public_key', object: 'factory1/METER', request_id: 'change-1' };
    expect(rows).toEqual([
      { ...act, details: { before: null, after: KEY } },
      { ...act, details: { before: KEY, after: null } },
    ]);
  });

  it('takes any key of Ed25519, and nothing else', async () => {
    const acts = async () => (await api.sql.query(`SELECT FROM audit_log WHERE action = 'device.set_public_key'`)).rowCount;
    const before = await acts();
    const der = generateKeyPairSync('ed25519').publicKey.export({ format: 'der', type: 'spki' }).toString('base64');
    for (const wrong of [undefined, '', 1, {}, [KEY], `${KEY}1`, KEY.slice(2), `0${KEY.slice(1)}`, der, '1'.repeat(32), KEY.repeat(100)]) {
      const { status, body } = await set(wrong);
      expect([wrong, status, body.code, body.errors[0]!.parameter]).toEqual([wrong, 400, 'INVALID_PARAMETER', 'publicKey']);
    }
    for (const body of ['{"publicKey":null,"siteId":"x"}', '{}', '[]', '"x"'])
      expect((await ask('SILENT', { method: 'PATCH', headers: JSON_TYPE, body })).status).toBe(400);
    expect((await ask('SILENT', { method: 'PATCH' })).status).toBe(400);
    expect(await acts()).toBe(before);
  });

  it('keeps its key when the change cannot be recorded', async () => {
    await set(KEY);
    await api.sql.query('ALTER TABLE audit_log RENAME TO audit_log_gone');
    expect((await set(null)).status).toBe(500);
    await api.sql.query('ALTER TABLE audit_log_gone RENAME TO audit_log');
    expect((await ask('METER?tenantId=factory1')).body.publicKey).toBe(KEY);
  });
});
