import { Api } from './api.js';
import { alterBatch, alterMessage, type BatchRow, fiveReadings, insertBatch, insertMessage, messageRow } from './rows.js';

interface Result {
  isValid: boolean;
  storedHash: string;
  calculatedHash: string | null;
  storedMessageCount: number;
  actualMessageCount: number;
  differenceCount: number;
  differences: { reason: string; messageId: string | null; leafIndex: number | null }[];
}

describe('POST /batches/:id/verify', () => {
  let api: Api;
  let batch: BatchRow;

  beforeAll(async () => {
    api = await Api.start();
  });
  afterAll(() => api.stop());
  beforeEach(async () => {
    batch = await insertBatch(api.sql, { payloads: fiveReadings() });
  });

  const verify = async (id = batch.batchId) => (await api.ask<Result>(`/api/v1/batches/${id}/verify`, { method: 'POST' })).body;
  const idAt = (leafIndex: number) => batch.messages[leafIndex]!.messageId;
  const alter = (set: string, leafIndex: number, ...values: unknown[]) => alterMessage(api.sql, idAt(leafIndex), set, values);
  const alterSealed = (set: string, ...values: unknown[]) => alterBatch(api.sql, batch.batchId, set, values);
  const difference = (reason: string, leafIndex: number) => ({ reason, messageId: idAt(leafIndex), leafIndex });

  it('finds an untouched batch valid', async () => {
    expect(await verify()).toEqual({
      batchId: batch.batchId,
      status: 'complete',
      isValid: true,
      storedHash: batch.root,
      calculatedHash: batch.root,
      storedMessageCount: 5,
      actualMessageCount: 5,
      differenceCount: 0,
      differences: [],
    });
  });

  it.each([1, 2, 3, 7, 49, 50, 51, 100, 130])('finds a batch of %i valid', async (size) => {
    const payloads = Array.from({ length: size }, (_, at) => `{"at":${at}}`);
    expect(await verify((await insertBatch(api.sql, { payloads })).batchId)).toMatchObject({ isValid: true, actualMessageCount: size });
  });

  it('finds a batch of payloads that are no JSON, or hardly, valid', async () => {
    const payloads = [Buffer.from([0xff, 0xfe]), '', '{"a":"\\u0000"}', 'null', '{"n":1e400}', '{"a":1,"a":2}', '"\u2028"'];
    expect(await verify((await insertBatch(api.sql, { payloads })).batchId)).toMatchObject({ isValid: true, differences: [] });
  });

  it('names the message whose payload was altered', async () => {
    await alter(`payload = '{"kwh":0}'`, 2);
    const result = await verify();
    expect(result).toMatchObject({ isValid: false, storedHash: batch.root, differences: [difference('payload_altered', 2)] });
  });

  it('names it also when its hash, size and JSON were made to fit', async () => {
    await alter(
      `payload = '{"kwh":0}', payload_size = 9, raw_data = '{"kwh":0}', message_hash = encode(sha256('{"kwh":0}'::bytea), 'hex')`,
      2,
    );
    const result = await verify();
    expect(result).toMatchObject({ isValid: false, differenceCount: 1, differences: [difference('message_altered', 2)] });
    expect(result.calculatedHash).not.toBe(batch.root);
  });

  it.each([
    ['topic', `topic = 'veep/factory1/line1/OTHER/data'`],
    ['time', `received_at = received_at + interval '1 ms'`],
    ['nonce', `nonce = '\\x00112233445566778899aabbccddeeff'`],
    ['nonce to something that is none', `nonce = '\\x00'`],
    ['hash to something that is none', `message_hash = 'none'`],
    ['size', `payload_size = 1`],
  ])('notices an altered %s', async (_, set) => {
    await alter(set, 0);
    const result = await verify();
    expect(result.isValid).toBe(false);
    expect(result.differences).toContainEqual(difference('message_altered', 0));
  });

  it('notices a signature that was added', async () => {
    await alter(`device_signature = '5Kd3', device_seq = 1, device_timestamp = now()`, 4);
    expect((await verify()).differences).toEqual([difference('message_altered', 4)]);
  });

  it('notices JSON that is not the payload’s, exactly', async () => {
    const payloads = ['{"id":12345678901234567890}', '{"ok":true}', 'not JSON', '{"gone":1}'];
    batch = await insertBatch(api.sql, { payloads });
    await alter(`raw_data = '{"id":12345678901234567891}'`, 0);
    expect((await verify()).differences).toEqual([difference('raw_data_altered', 0)]);
    await alter(`raw_data = '{}', raw_data_error = NULL`, 2);
    await alter(`raw_data = NULL`, 3);
    const result = await verify();
    expect(result.isValid).toBe(false);
    expect(result.differences).toEqual([0, 2, 3].map((at) => difference('raw_data_altered', at)));
  });

  it('names the place of a deleted message', async () => {
    await api.sql.query('DELETE FROM messages WHERE message_id = $1', [idAt(3)]);
    expect(await verify()).toMatchObject({
      isValid: false,
      storedMessageCount: 5,
      actualMessageCount: 4,
      differences: [{ reason: 'message_missing', messageId: null, leafIndex: 3 }],
    });
  });

  it('names every place when all messages are gone', async () => {
    await api.sql.query('DELETE FROM messages WHERE batch_id = $1', [batch.batchId]);
    expect(await verify()).toMatchObject({ isValid: false, calculatedHash: null, actualMessageCount: 0, differenceCount: 5 });
  });

  it('names an added message, also one at a place that is taken, on another day', async () => {
    const behind = messageRow('factory1', 'SENSOR_001', Buffer.from('{"added":1}'), new Date());
    await insertMessage(api.sql, batch, 5, behind);
    const tomorrow = new Date(Date.now() + 86_400_000);
    await api.sql.query('SELECT ensure_partitions($1, $1)', [tomorrow]);
    const beside = messageRow('factory1', 'SENSOR_001', Buffer.from('{"added":2}'), tomorrow);
    await insertMessage(api.sql, batch, 1, beside);
    const result = await verify();
    expect(result).toMatchObject({ isValid: false, storedMessageCount: 5, actualMessageCount: 7, differenceCount: 2 });
    expect(result.differences).toEqual(
      expect.arrayContaining([
        { reason: 'message_added', messageId: behind.messageId, leafIndex: 5 },
        { reason: 'message_added', messageId: beside.messageId, leafIndex: 1 },
      ]),
    );
  });

  it('names both messages whose places were swapped', async () => {
    await alter('leaf_index = 99', 1);
    await alter('leaf_index = 1', 3);
    await alter('leaf_index = 3', 1);
    const result = await verify();
    expect(result.isValid).toBe(false);
    expect(result.differences).toEqual([
      { reason: 'message_moved', messageId: idAt(3), leafIndex: 1 },
      { reason: 'message_moved', messageId: idAt(1), leafIndex: 3 },
    ]);
  });

  it('notices a message that was given to another tenant', async () => {
    await api.sql.query(`INSERT INTO devices (tenant_id, device_id, site_id) VALUES ('thief', 'SENSOR_001', 'x') ON CONFLICT DO NOTHING`);
    await alter(`tenant_id = 'thief'`, 0);
    expect(await verify()).toMatchObject({ isValid: false, differences: [difference('tenant_altered', 0)] });
  });

  it('notices an altered batch', async () => {
    await alterSealed('batch_hash = $2', 'f'.repeat(64));
    expect(await verify()).toMatchObject({ isValid: false, storedHash: 'f'.repeat(64), calculatedHash: batch.root });
    await alterSealed('batch_hash = $2, message_count = 6', batch.root);
    expect(await verify()).toMatchObject({ isValid: false, storedMessageCount: 6, actualMessageCount: 5 });
    await alterSealed(`message_count = 5, leaf_hashes = overlay(leaf_hashes placing '\\x00'::bytea from 3)`);
    expect((await verify()).differences).toEqual([{ reason: 'leaf_hashes_altered', messageId: null, leafIndex: null }]);
  });

  it('checks a pending batch against its last commit', async () => {
    batch = await insertBatch(api.sql, { status: 'pending' });
    expect(await verify()).toMatchObject({ status: 'pending', isValid: true, storedHash: batch.root });
    await alter(`payload = '{}'`, 1);
    expect(await verify()).toMatchObject({ isValid: false, differences: [difference('payload_altered', 1)] });
    await api.sql.query('DELETE FROM messages WHERE message_id = $1', [idAt(1)]);
    expect(await verify()).toMatchObject({ isValid: false, differences: [{ reason: 'message_missing', messageId: null, leafIndex: 1 }] });
  });

  it('lists the first hundred of many differences', async () => {
    batch = await insertBatch(api.sql, { payloads: Array.from({ length: 150 }, (_, at) => `${at}`) });
    await api.sql.query(`UPDATE messages SET payload = '' WHERE batch_id = $1`, [batch.batchId]);
    const result = await verify();
    expect([result.differenceCount, result.differences.length]).toEqual([150, 100]);
  });

  it('answers 404 for an unknown batch and refuses what it does not know', async () => {
    const post = async (path: string, init: RequestInit = {}) => {
      const { status, body } = await api.ask(`/api/v1/batches/${path}`, { method: 'POST', ...init });
      return [status, body['code']];
    };
    const json = { 'Content-Type': 'application/json' };
    expect(await post('019ab5e8-2c00-7000-8000-000000000000/verify')).toEqual([404, 'BATCH_NOT_FOUND']);
    expect(await post('abc/verify')).toEqual([400, 'INVALID_UUID']);
    expect(await post(`${batch.batchId}/verify?deep=1`)).toEqual([400, 'INVALID_PARAMETER']);
    expect(await post(`${batch.batchId}/verify`, { body: '{"status":"complete"}', headers: json })).toEqual([400, 'INVALID_PARAMETER']);
    expect(await post(`${batch.batchId}/verify`, { body: '{}', headers: json })).toEqual([200, undefined]);
    expect(await post(`${batch.batchId}/verify`, { body: '[]', headers: json })).toEqual([400, 'INVALID_PARAMETER']);
    const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
    expect(await post(`${batch.batchId}/verify`, { body: 'a=b', headers: form })).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE']);
    expect(await post(`${batch.batchId}/verify`, { body: '{', headers: json })).toEqual([400, 'INVALID_JSON']);
    expect((await api.fetch(`/api/v1/batches/${batch.batchId}/verify`)).status).toBe(405);
  });
});
