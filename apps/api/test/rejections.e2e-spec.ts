import { createHash } from 'node:crypto';
import { until } from '@tallystick/testing';
import { Api, makeKey } from './api.js';
import { insertRejection } from './rows.js';

interface Rejection {
  items: { rejectionId: string }[];
  status: string;
  code: string;
}

describe('the quarantine', () => {
  let api: Api;
  let ids: Record<'json' | 'deep' | 'theirs' | 'nobodys' | 'cut', string>;
  let tenant: Record<string, string>;
  const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000);

  beforeAll(async () => {
    api = await Api.start();
    ids = {
      json: await insertRejection(api.sql, { receivedAt: minutesAgo(5), payload: '<script>alert(1)</script>' }),
      deep: await insertRejection(api.sql, { receivedAt: minutesAgo(4), reason: 'too_deep' }),
      theirs: await insertRejection(api.sql, { receivedAt: minutesAgo(3), tenantId: 'factory2' }),
      nobodys: await insertRejection(api.sql, {
        receivedAt: minutesAgo(2),
        tenantId: null,
        topic: 'x\u0007"<b>',
        reason: 'topic_mismatch',
      }),
      cut: await insertRejection(api.sql, { receivedAt: minutesAgo(1), reason: 'payload_too_large', wholeSize: 300_000 }),
    };
    tenant = { Authorization: `Bearer ${await makeKey(api.sql, { tenantId: 'factory1' })}` };
  });
  afterAll(() => api.stop());

  const ask = (path: string, init?: RequestInit) => api.ask<Rejection>(`/api/v1/rejections${path}`, init);
  const list = async (query = '', headers: Record<string, string> = {}) =>
    (await ask(query, { headers })).body.items.map((item) => item.rejectionId);
  const replay = (id: string, headers: Record<string, string> = {}) => ask(`/${id}/replay`, { method: 'POST', headers });
  const setStatus = (id: string, status: string) =>
    api.sql.query(`UPDATE rejected_messages SET status = $2 WHERE rejection_id = $1`, [id, status]);
  const acts = async (id: string) =>
    (await api.sql.query<{ action: string }>(`SELECT action FROM audit_log WHERE object = $1 ORDER BY entry_id`, [id])).rows;
  const discard = (id: string, headers: Record<string, string> = {}) => ask(`/${id}/discard`, { method: 'POST', headers });

  it('lists newest first, by status, reason, tenant and time', async () => {
    const { json, deep, theirs, nobodys, cut } = ids;
    expect(await list()).toEqual([cut, nobodys, theirs, deep, json]);
    expect(await list('?status=new&reason=too_deep')).toEqual([deep]);
    expect(await list('?status=discarded')).toEqual([]);
    expect(await list('?tenantId=factory2')).toEqual([theirs]);
    expect(await list(`?from=${minutesAgo(4.5).toISOString()}&to=${minutesAgo(2.5).toISOString()}`)).toEqual([theirs, deep]);
  });

  it('shows a tenant its own, and what no tenant can be told of only to the platform', async () => {
    expect(await list('', tenant)).toEqual([ids.cut, ids.deep, ids.json]);
    expect(await list('?tenantId=factory2', tenant)).toEqual([]);
    for (const init of [{ path: '' }, { path: '/payload' }, { path: '/discard', method: 'POST' }, { path: '/replay', method: 'POST' }]) {
      const problem = async (id: string) => {
        const { status, body } = await ask(`/${id}${init.path}`, { method: init.method ?? 'GET', headers: tenant });
        return { ...body, status, instance: '', requestId: '' };
      };
      const missing = await problem('019ab5e8-2c00-7000-8000-00000000dead');
      expect(missing).toMatchObject({ status: 404, code: 'REJECTION_NOT_FOUND' });
      for (const id of [ids.theirs, ids.nobodys]) expect(await problem(id)).toEqual(missing);
    }
    expect((await ask(`/${ids.nobodys}`)).body).toMatchObject({ tenantId: null, topic: 'x\u0007"<b>', status: 'new' });
  });

  it('shows one rejection with its reason', async () => {
    const { status, body } = await ask(`/${ids.cut.toUpperCase()}`, { headers: tenant });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      ...{ rejectionId: ids.cut, tenantId: 'factory1', reason: 'payload_too_large', detail: 'in words', truncated: true },
      ...{ payloadSize: 300_000, receiver: 'bridge-1', qos: 1, packetId: 7, status: 'new', resolvedAt: null, replayedAs: null },
    });
  });

  it('gives the bytes back, never to be shown as a page', async () => {
    const response = await api.fetch(`/api/v1/rejections/${ids.json}/payload`);
    expect(await response.text()).toBe('<script>alert(1)</script>');
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-disposition': `attachment; filename=${ids.json}.bin`,
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
      etag: `"${createHash('sha256').update('<script>alert(1)</script>').digest('hex')}"`,
    });
  });

  it('pages without loss or repetition, and cuts a page of long topics short', async () => {
    const pages = await api.pages<{ rejectionId: string }>('/api/v1/rejections?limit=2');
    expect(pages.map((page) => page.length)).toEqual([2, 2, 1]);
    expect(pages.flat().map(({ rejectionId }) => rejectionId)).toEqual(await list());
    const topic = 'x'.repeat(65_000);
    for (let at = 0; at < 80; at++) await insertRejection(api.sql, { tenantId: 'long', topic, receivedAt: minutesAgo(60 + at) });
    const long = await api.pages<{ rejectionId: string }>('/api/v1/rejections?tenantId=long&limit=500');
    expect(long.map((page) => page.length)).toEqual([65, 15]);
    expect(new Set(long.flat().map(({ rejectionId }) => rejectionId)).size).toBe(80);
  });

  it('discards a new rejection once, on record', async () => {
    const id = await insertRejection(api.sql);
    const key = await makeKey(api.sql, { tenantId: 'factory1', scopes: ['rejections:write'] });
    const answers = await Promise.all([1, 2, 3].map(() => discard(id, { Authorization: `Bearer ${key}`, 'X-Request-Id': 'discard-1' })));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409, 409]);
    const done = answers.find(({ status }) => status === 200)!;
    expect(done.body).toMatchObject({ rejectionId: id, status: 'discarded', resolvedAt: expect.stringMatching(/Z$/) as string });
    expect((await discard(id)).body.code).toBe('REJECTION_NOT_NEW');
    expect(await list('?status=discarded')).toEqual([id]);
    const { rows } = await api.sql.query(`SELECT actor, action, details, request_id FROM audit_log WHERE object = $1`, [id]);
    expect(rows).toEqual([
      { actor: `key:${key.slice(4, 16)}`, action: 'rejection.discard', details: { tenantId: 'factory1' }, request_id: 'discard-1' },
    ]);
    expect(await (await api.fetch(`/api/v1/rejections/${id}/payload`)).text()).toBe('no JSON');
  });

  it('asks for the replay of a new rejection once, on record, and takes it back', async () => {
    const id = await insertRejection(api.sql);
    const key = await makeKey(api.sql, { tenantId: 'factory1', scopes: ['rejections:write'] });
    const answers = await Promise.all([1, 2, 3].map(() => replay(id, { Authorization: `Bearer ${key}`, 'X-Request-Id': 'replay-1' })));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409, 409]);
    const done = answers.find(({ status }) => status === 200)!;
    expect(done.body).toMatchObject({ rejectionId: id, status: 'replay_requested', resolvedAt: null, replayedAs: null });
    expect((await replay(id)).body.code).toBe('REJECTION_NOT_NEW');
    const { rows } = await api.sql.query(`SELECT actor, action, details, request_id FROM audit_log WHERE object = $1`, [id]);
    expect(rows).toEqual([
      { actor: `key:${key.slice(4, 16)}`, action: 'rejection.replay', details: { tenantId: 'factory1' }, request_id: 'replay-1' },
    ]);
    expect(await discard(id)).toMatchObject({ status: 200, body: { status: 'discarded' } });
    expect(await acts(id)).toEqual([{ action: 'rejection.replay' }, { action: 'rejection.discard' }]);
    expect((await replay(id)).body.code).toBe('REJECTION_NOT_NEW');
  });

  it('shows as which message a replay stored it', async () => {
    const id = await insertRejection(api.sql);
    const messageId = '019ab5e8-2c00-7000-8000-0000000000aa';
    await api.sql.query(`UPDATE rejected_messages SET status = 'replayed', resolved_at = now(), replayed_as = $2 WHERE rejection_id = $1`, [
      id,
      messageId,
    ]);
    expect((await ask(`/${id}`)).body).toMatchObject({ status: 'replayed', replayedAs: messageId });
    expect((await ask('?status=replayed')).body.items).toMatchObject([{ rejectionId: id, replayedAs: messageId }]);
  });

  it('does not replay what was not kept whole', async () => {
    expect(await replay(ids.cut)).toMatchObject({ status: 409, body: { code: 'REJECTION_TRUNCATED' } });
    expect((await ask(`/${ids.cut}`)).body.status).toBe('new');
    expect(await acts(ids.cut)).toEqual([]);
    await setStatus(ids.cut, 'discarded');
    expect((await replay(ids.cut)).body.code).toBe('REJECTION_NOT_NEW');
    await setStatus(ids.cut, 'new');
  });

  it.each(['replayed', 'discarded'])('does not replay one that is %s', async (status) => {
    const id = await insertRejection(api.sql);
    await setStatus(id, status);
    expect(await replay(id)).toMatchObject({ status: 409, body: { code: 'REJECTION_NOT_NEW' } });
    expect((await ask(`/${id}`)).body.status).toBe(status);
    expect(await acts(id)).toEqual([]);
  });

  it('waits for a bridge that is storing it, and then says so instead of discarding it', async () => {
    const id = await insertRejection(api.sql);
    await replay(id);
    await api.sql.query('BEGIN');
    await setStatus(id, 'replayed');
    const discarding = discard(id);
    const waiting = `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%discarded%'`;
    await until(async () => {
      await api.sql.query('SELECT pg_stat_clear_snapshot()'); // a transaction sees the same activity until then
      return (await api.sql.query(waiting)).rowCount === 1;
    });
    await api.sql.query('COMMIT');
    expect(await discarding).toMatchObject({ status: 409, body: { code: 'REJECTION_NOT_NEW' } });
    expect(await acts(id)).toEqual([{ action: 'rejection.replay' }]);
  });

  it.each(['replayed', 'discarded'])('does not discard one that is %s', async (status) => {
    const id = await insertRejection(api.sql);
    await setStatus(id, status);
    expect(await discard(id)).toMatchObject({ status: 409, body: { code: 'REJECTION_NOT_NEW' } });
    expect((await ask(`/${id}`)).body.status).toBe(status);
    expect((await api.sql.query(`SELECT FROM audit_log WHERE object = $1`, [id])).rowCount).toBe(0);
  });

  it('neither discards nor replays what cannot be recorded', async () => {
    const id = await insertRejection(api.sql);
    await api.sql.query('ALTER TABLE audit_log RENAME TO audit_log_gone');
    expect((await discard(id)).status).toBe(500);
    expect((await replay(id)).status).toBe(500);
    await api.sql.query('ALTER TABLE audit_log_gone RENAME TO audit_log');
    expect((await ask(`/${id}`)).body.status).toBe('new');
  });

  it.each([
    '?status=open',
    '?reason=because',
    '?tenantId=',
    '?from=yesterday',
    '?limit=0',
    '?device=x',
    '?cursor=AAAA',
    '?status=new&status=new',
  ])('refuses %s', async (query) => expect((await ask(query)).body.code).toBe('INVALID_PARAMETER'));

  it.each(['/x', '/x/payload', '/x/discard', '/x/replay'])('refuses %s as an identifier', async (path) => {
    expect((await ask(path, { method: /discard|replay/.test(path) ? 'POST' : 'GET' })).body.code).toBe('INVALID_UUID');
  });

  it('refuses input that is not asked for', async () => {
    const post = (what: string, body: string) =>
      ask(`/${ids.deep}/${what}`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
    for (const act of ['discard', 'replay']) {
      expect((await post(`${act}?why=x`, '{}')).body.code).toBe('INVALID_PARAMETER');
      expect((await post(act, '{"status":"replayed"}')).body.code).toBe('INVALID_PARAMETER');
    }
    expect((await ask(`/${ids.deep}?verbose=1`)).body.code).toBe('INVALID_PARAMETER');
    expect((await ask(`/${ids.deep}`)).body.status).toBe('new');
  });
});
