import { createHash } from 'node:crypto';
import { Api } from './api.js';
import { alterBatch, alterMessage, type BatchRow, fiveReadings, insertBatch } from './rows.js';

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

describe('POST /messages/:id/verify', () => {
  let api: Api;
  let batch: BatchRow;

  beforeAll(async () => {
    api = await Api.start();
  });
  afterAll(() => api.stop());
  beforeEach(async () => {
    batch = await insertBatch(api.sql, { payloads: fiveReadings() });
  });

  const idAt = (leafIndex: number, of = batch) => of.messages[leafIndex]!.messageId;
  const verify = async (messageId: string) => {
    const { status, body } = await api.ask(`/api/v1/messages/${messageId}/verify`, { method: 'POST' });
    expect(status).toBe(200);
    return body;
  };
  const alter = (set: string, leafIndex: number, ...values: unknown[]) => alterMessage(api.sql, idAt(leafIndex), set, values);
  const alterSealed = (set: string, ...values: unknown[]) => alterBatch(api.sql, batch.batchId, set, values);

  it('finds each untouched message valid, at its place', async () => {
    for (const [leafIndex, { messageId, messageHash, leafHash }] of batch.messages.entries()) {
      expect(await verify(messageId)).toEqual({
        ...{ messageId, batchId: batch.batchId, batchStatus: 'complete', isValid: true, leafIndex },
        ...{ storedHash: messageHash, calculatedHash: messageHash, leafHash: leafHash.toString('hex'), isInBatch: true },
        ...{ storedRoot: batch.root, calculatedRoot: batch.root, faults: [] },
      });
    }
  });

  it('finds one of a pending batch valid, by the rows of its last commit', async () => {
    const pending = await insertBatch(api.sql, { status: 'pending' });
    const valid = { batchStatus: 'pending', isValid: true, isInBatch: true, storedRoot: pending.root, calculatedRoot: pending.root };
    expect(await verify(idAt(1, pending))).toMatchObject(valid);
    await api.sql.query(`UPDATE messages SET topic = 'altered' WHERE message_id = $1`, [idAt(0, pending)]);
    expect(await verify(idAt(1, pending))).toMatchObject({ isValid: false, isInBatch: false, storedRoot: pending.root, faults: [] });
  });

  it('finds one valid whatever has become of its neighbours', async () => {
    await alter(`payload = 'x'`, 0);
    await alter(`topic = 'altered'`, 1);
    await api.sql.query(`DELETE FROM messages WHERE message_id = $1`, [idAt(3)]);
    expect(await verify(idAt(2))).toMatchObject({ isValid: true, isInBatch: true, faults: [] });
  });

  it('finds payloads valid that are no JSON, or hardly', async () => {
    const odd = await insertBatch(api.sql, {
      payloads: [Buffer.from([0xff, 0xfe]), '', '{"a":"\\u0000"}', '{"n":1e400}', '{"a":1,"a":2}'],
    });
    for (const { messageId } of odd.messages) expect(await verify(messageId)).toMatchObject({ isValid: true, faults: [] });
  });

  it('tells altered bytes by their hash', async () => {
    await alter(`payload = '{"kwh":0}'`, 2);
    expect(await verify(idAt(2))).toMatchObject({
      ...{ isValid: false, storedHash: batch.messages[2]!.messageHash, calculatedHash: sha256('{"kwh":0}') },
      ...{ isInBatch: true, faults: ['payload_altered'] },
    });
  });

  it('tells them also when hash, size and JSON were made to fit', async () => {
    await alter(
      `payload = '{"kwh":0}', payload_size = 9, raw_data = '{"kwh":0}', message_hash = encode(sha256('{"kwh":0}'::bytea), 'hex')`,
      2,
    );
    const hash = sha256('{"kwh":0}');
    expect(await verify(idAt(2))).toMatchObject({
      isValid: false,
      storedHash: hash,
      calculatedHash: hash,
      isInBatch: false,
      faults: ['message_altered'],
    });
  });

  it.each([
    ['topic', `topic = 'veep/factory1/line1/OTHER/data'`],
    ['nonce', `nonce = decode(repeat('00', 16), 'hex')`],
    ['time of receipt', `received_at = received_at + interval '1 ms'`],
  ])('tells an altered %s', async (_, set) => {
    await alter(set, 2);
    expect(await verify(idAt(2))).toMatchObject({ isValid: false, isInBatch: false, faults: ['message_altered'] });
  });

  it('tells an altered reading of the payload', async () => {
    await alter(`raw_data = '{"kwh":999}'`, 2);
    expect(await verify(idAt(2))).toMatchObject({ isValid: false, isInBatch: true, faults: ['raw_data_altered'] });
  });

  it('tells two that changed places', async () => {
    await alter('leaf_index = 9', 1);
    await alter('leaf_index = 1', 2);
    await alter('leaf_index = 2', 1);
    for (const at of [1, 2]) expect(await verify(idAt(at))).toMatchObject({ isValid: false, isInBatch: false, faults: ['message_moved'] });
    expect(await verify(idAt(3))).toMatchObject({ isValid: true });
  });

  it('tells one that was put behind the end', async () => {
    await alter(`leaf_index = 5, topic = 'added'`, 4);
    expect(await verify(idAt(4))).toMatchObject({ isValid: false, isInBatch: false, faults: ['message_added'] });
  });

  it('tells columns that cannot be those of a message', async () => {
    await alter(`device_signature = 'not base58 0OIl'`, 2);
    expect(await verify(idAt(2))).toMatchObject({ isValid: false, leafHash: null, isInBatch: false, faults: ['message_altered'] });
  });

  it('goes by the rows when the leaf hashes kept do not make the root, or were given up', async () => {
    for (const leaves of [Buffer.alloc(5 * 32), Buffer.alloc(31), null]) {
      await alterSealed('leaf_hashes = $2', leaves);
      expect(await verify(idAt(2))).toMatchObject({ isValid: true, calculatedRoot: batch.root });
    }
    await alter(`topic = 'altered'`, 2);
    expect(await verify(idAt(2))).toMatchObject({ isValid: false, isInBatch: false });
  });

  it('tells a batch whose root was altered', async () => {
    await alterSealed(`batch_hash = repeat('0', 64)`);
    expect(await verify(idAt(2))).toMatchObject({
      isValid: false,
      isInBatch: false,
      storedRoot: '0'.repeat(64),
      calculatedRoot: batch.root,
    });
  });

  it('answers 404 for none, and refuses what is not asked', async () => {
    const post = (path: string, init: RequestInit = {}) => api.ask(`/api/v1/messages/${path}`, { method: 'POST', ...init });
    expect((await post('019ab5e8-2c00-7000-8000-00000000dead/verify')).body['code']).toBe('MESSAGE_NOT_FOUND');
    expect((await post('x/verify')).body['code']).toBe('INVALID_UUID');
    expect((await post(`${idAt(0)}/verify?deep=1`)).body['code']).toBe('INVALID_PARAMETER');
    const body = { headers: { 'Content-Type': 'application/json' }, body: '{"deep":1}' };
    expect((await post(`${idAt(0)}/verify`, body)).body['code']).toBe('INVALID_PARAMETER');
    expect((await api.ask(`/api/v1/messages/${idAt(0)}/verify`)).status).toBe(405);
  });
});
