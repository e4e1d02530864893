import { setTimeout as sleep } from 'node:timers/promises';
import { createTestDatabase, type RunningApp, startApp, until } from '@tallystick/testing';
import { drop, metric, values } from './alert-causes.js';
import { Api } from './api.js';
import { insertBatch, insertRejection } from './rows.js';
import { expectedSignature, WebhookReceiver } from './webhook-receiver.js';

interface Alert {
  alertId: string;
  kind: string;
  state: string;
  subject: string;
  summary: string;
  link: string;
  notifiedAt: string | null;
}

const SECRET = `whsec_${Buffer.from('canary-secret-of-the-webhook-spec').toString('base64')}`;
const CANARY = 'canary-of-the-url';
/** Looks and tells every second; an alert ends after four looks. */
const FAST = { ALERT_INTERVAL_S: '1' };

describe('alerts', () => {
  let api: Api;
  let receiver: WebhookReceiver;
  let second: RunningApp;
  beforeAll(async () => {
    receiver = await WebhookReceiver.start();
    const webhook = { ALERT_WEBHOOK_URL: receiver.url(`/hook/${CANARY}?token=${CANARY}`), ALERT_WEBHOOK_SECRET: SECRET };
    const env = { ...FAST, ...webhook, PUBLIC_URL: 'https://tallystick.example/' };
    api = await Api.start(env);
    second = await startApp('api', { DATABASE_URL: api.databaseUrl, ...env });
    await second.waitForReady();
  });
  afterAll(async () => {
    expect(await second.stop()).toBe(0);
    await api.stop();
  });

  const list = async (query = '') => (await api.ask<{ items: Alert[] }>(`/api/v1/alerts${query}`)).body.items;
  const stateOf = async (kind: string) => (await list(`?kind=${kind}`))[0]?.state;
  const told = (kind: string, state: string) => until(() => receiver.states(kind).includes(state), { timeoutMs: 30_000 });
  const noticeOf = (kind: string, state: string) => receiver.notices.find(({ body }) => body.kind === kind && body.state === state)!;

  it('of a broker that drops messages: told once by two processes, signed, and again when it is over', async () => {
    await drop(api.sql);
    await told('broker_dropping', 'firing');
    const [alert] = await list('?kind=broker_dropping&state=firing');
    const { headers, body, url } = noticeOf('broker_dropping', 'firing');
    expect(body).toMatchObject({
      ...{ version: 1, id: alert!.alertId, severity: 'critical', subject: 'broker/local', resolvedAt: null },
      summary: 'The broker local dropped 12 messages within five minutes.',
      details: { broker: 'local', dropped: 12 },
      link: `https://tallystick.example${alert!.link}`,
    });
    expect(url).toBe(`/hook/${CANARY}?token=${CANARY}`);
    expect(headers).toMatchObject({ 'content-type': 'application/json', 'webhook-id': `${alert!.alertId}_firing_1` });
    expect(Math.abs(Number(headers['webhook-timestamp']) - Date.now() / 1000)).toBeLessThan(60);
    expect((await api.ask(alert!.link)).status).toBe(200);
    await sleep(3_000);
    expect(receiver.states('broker_dropping')).toEqual(['firing']);

    await api.sql.query(`UPDATE broker_metrics SET ts = ts - interval '6 minutes'`);
    await told('broker_dropping', 'resolved');
    expect(noticeOf('broker_dropping', 'resolved').headers['webhook-id']).toBe(`${alert!.alertId}_resolved_2`);
    expect(noticeOf('broker_dropping', 'resolved').body).toMatchObject({ id: alert!.alertId, resolvedAt: expect.any(String) });
    await sleep(2_000);
    expect(receiver.states('broker_dropping')).toEqual(['firing', 'resolved']);
    expect(await list('?kind=broker_dropping')).toMatchObject([{ state: 'resolved', notifiedAt: expect.any(String) }]);
  });

  it('of a batch in which a verification finds differences, until one finds none; a message will do', async () => {
    const batch = await insertBatch(api.sql);
    const [first] = batch.messages;
    const setPayload = (payload: Buffer) =>
      api.sql.query(`UPDATE messages SET payload = $2 WHERE message_id = $1`, [first!.messageId, payload]);
    const verify = async (path: string) => (await api.ask<{ isValid: boolean }>(`/api/v1/${path}/verify`, { method: 'POST' })).body.isValid;
    expect(await verify(`batches/${batch.batchId}`)).toBe(true);
    await sleep(2_500);
    expect(await stateOf('batch_failed')).toBeUndefined();
    await setPayload(Buffer.alloc(first!.payload.length, 'x'));
    expect(await verify(`messages/${first!.messageId}`)).toBe(false);
    await told('batch_failed', 'firing');
    expect(noticeOf('batch_failed', 'firing').body).toMatchObject({
      subject: 'batches',
      details: { batches: 1, failed: 0, differing: 1, newestBatchIds: [batch.batchId] },
    });
    expect(await verify(`messages/${batch.messages[1]!.messageId}`)).toBe(true);
    await setPayload(first!.payload);
    await sleep(6_000);
    expect(await stateOf('batch_failed')).toBe('firing');
    expect(await verify(`batches/${batch.batchId}`)).toBe(true);
    await told('batch_failed', 'resolved');
  });

  it('of many failed batches: one notice with a count, and an hour later one more if there are more', async () => {
    receiver.notices.length = 0;
    const fail = (count: number) =>
      api.sql.query(
        `INSERT INTO batches (batch_id, tenant_id, batch_hash, message_count, start_timestamp, end_timestamp, status, open_root, receiver)
         SELECT gen_random_uuid(), 'factory1', repeat('0', 64), 1, now(), now(), 'failed', '', 'bridge-1' FROM generate_series(1, $1::int)`,
        [count],
      );
    const summary = async () => (await list('?kind=batch_failed&state=firing'))[0]?.summary;
    await fail(2_000);
    await told('batch_failed', 'firing');
    expect(noticeOf('batch_failed', 'firing').body).toMatchObject({ details: { batches: 2_000 } });
    await fail(1);
    await until(async () => (await summary())?.startsWith('2001 '));
    await sleep(2_500);
    expect(receiver.states('batch_failed')).toEqual(['firing']);
    await api.sql.query(
      `UPDATE alerts SET notified_at = notified_at - interval '1 hour', next_attempt_at = next_attempt_at - interval '1 hour'`,
    );
    await until(() => receiver.states('batch_failed').length === 2, { timeoutMs: 30_000 });
    expect(receiver.notices.at(-1)!.body).toMatchObject({ state: 'firing', details: { batches: 2_001 } });
    expect(receiver.notices.at(-1)!.headers['webhook-id']).toMatch(/_firing_2$/);
    await api.sql.query(`DELETE FROM batches WHERE status = 'failed'`);
    await told('batch_failed', 'resolved');
    expect(receiver.notices.at(-1)!.headers['webhook-id']).toMatch(/_resolved_3$/);
  });

  it('of a batch that nobody seals, until somebody does', async () => {
    const { batchId } = await insertBatch(api.sql, { status: 'pending', startAt: new Date(Date.now() - 660_000) });
    await told('ingest_stalled', 'firing');
    expect(noticeOf('ingest_stalled', 'firing').body).toMatchObject({
      subject: 'batches',
      details: { pending: 1, receivers: ['bridge-1'] },
    });
    await api.sql.query(`UPDATE batches SET status = 'complete', sealed_at = now(), leaf_hashes = '' WHERE batch_id = $1`, [batchId]);
    await told('ingest_stalled', 'resolved');
  });

  it('of a broker that receives what nobody stores, until something is stored', async () => {
    receiver.notices.length = 0;
    await api.sql.query(`TRUNCATE messages, batches, differing_batches`);
    const { batchId } = await insertBatch(api.sql, { startAt: new Date(Date.now() - 540_000) });
    await api.sql.query(`UPDATE messages SET processed_at = received_at WHERE batch_id = $1`, [batchId]);
    await values(api.sql, 'local', 'publish/messages/received', [400, 1], [390, 2], [200, 30], [10, 40]);
    await told('ingest_stalled', 'firing');
    expect(noticeOf('ingest_stalled', 'firing').body).toMatchObject({ subject: 'broker/local', details: { received: 39 } });
    await insertBatch(api.sql);
    await told('ingest_stalled', 'resolved');
  });

  it('of a quarantine that grows, until it grows at half the pace', async () => {
    const ids: string[] = [];
    for (let n = 0; n < 101; n++) ids.push(await insertRejection(api.sql));
    await told('quarantine_growing', 'firing');
    expect(noticeOf('quarantine_growing', 'firing').body).toMatchObject({ severity: 'warning', details: { rejections: 101, limit: 100 } });
    const age = (from: number, to: number) =>
      api.sql.query(`UPDATE rejected_messages SET received_at = now() - interval '11 minutes' WHERE rejection_id = ANY ($1)`, [
        ids.slice(from, to),
      ]);
    await age(0, 50);
    await sleep(6_000);
    expect(await stateOf('quarantine_growing')).toBe('firing');
    await age(50, 51);
    await told('quarantine_growing', 'resolved');
  });

  it('are listed newest first, by state and kind, page by page; to the platform alone', async () => {
    const all = await list();
    expect(new Set(all.map(({ kind }) => kind))).toEqual(
      new Set(['broker_dropping', 'batch_failed', 'ingest_stalled', 'quarantine_growing']),
    );
    const pages = await api.pages<Alert>('/api/v1/alerts?state=resolved&limit=2');
    expect(pages.flat().map(({ alertId }) => alertId)).toEqual(all.map(({ alertId }) => alertId));
    expect(pages[0]).toHaveLength(2);
    expect(await list('?state=firing')).toEqual([]);
    for (const query of ['?kind=disk_full', '?state=open', '?subject=x', '?cursor=x'])
      expect((await api.ask(`/api/v1/alerts${query}`)).status).toBe(400);
  });

  it('are all signed, and neither the URL nor the secret is in a log, a metric or the database', async () => {
    for (const notice of receiver.notices) expect(notice.headers['webhook-signature']).toBe(expectedSignature(SECRET, notice));
    const { rows } = await api.sql.query<{ text: string }>(`SELECT coalesce(json_agg(a), '[]')::text AS text FROM alerts a`);
    const metrics = await (await fetch(`${api.app.url}/metrics`)).text();
    for (const text of [JSON.stringify([api.app.logs, second.logs]), rows[0]!.text, metrics]) {
      expect(text).not.toMatch(new RegExp(`${CANARY}|canary|whsec_|:${receiver.port}|${SECRET.slice(6)}`));
    }
    expect(JSON.stringify([api.app.logs, second.logs]).match(/"alert opened"/g)).toHaveLength((await list()).length);
  });
});

describe('the configuration of alerts', () => {
  it('may name nobody to tell: then they are kept and listed', async () => {
    const api = await Api.start(FAST);
    await drop(api.sql, 'a b/ü');
    await until(async () => (await api.ask<{ items: Alert[] }>('/api/v1/alerts')).body.items.length === 1, { timeoutMs: 30_000 });
    const [alert] = (await api.ask<{ items: Alert[] }>('/api/v1/alerts')).body.items;
    expect(alert).toMatchObject({ subject: 'broker/a b/ü', state: 'firing', notifiedAt: null });
    expect((await api.fetch(alert!.link)).status).toBe(200);
    expect(await metric(api.app, 'alerts_open{kind="broker_dropping"}')).toBe(1);
    await api.stop();
  });

  it('is refused without being shown', async () => {
    const { url } = await createTestDatabase();
    const app = await startApp('api', {
      DATABASE_URL: url,
      ALERT_WEBHOOK_URL: `https://user:${CANARY}@hooks.example/x`,
      ALERT_WEBHOOK_SECRET: CANARY,
      PUBLIC_URL: 'tallystick.example',
    });
    expect((await app.exited).code).toBe(78);
    const text = JSON.stringify(app.logs);
    for (const problem of ['ALERT_WEBHOOK_URL: must be', 'ALERT_WEBHOOK_SECRET: must be whsec_', 'PUBLIC_URL: must be'])
      expect(text).toContain(problem);
    expect(text).not.toContain('canary');
  });
});
