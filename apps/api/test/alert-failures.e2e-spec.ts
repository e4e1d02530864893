import { setTimeout as sleep } from 'node:timers/promises';
import { createTestDatabase, startApp, until } from '@tallystick/testing';
import pg from 'pg';
import { drop, metric } from './alert-causes.js';
import { Api } from './api.js';
import { WebhookReceiver } from './webhook-receiver.js';

const SECRET = `whsec_${Buffer.from('canary-secret-of-the-webhook-spec').toString('base64')}`;
const CANARY = 'canary-of-the-url';
/** Looks and tells every second; an alert ends after four looks. */
const FAST = { ALERT_INTERVAL_S: '1' };

describe('a receiver that does not take a notice', () => {
  it('is tried again with the same id until it does, whatever it did before; one line of the log', async () => {
    const [receiver, elsewhere] = [await WebhookReceiver.start(), await WebhookReceiver.start()];
    const api = await Api.start({ ...FAST, ALERT_WEBHOOK_URL: receiver.url(`/${CANARY}`), ALERT_WEBHOOK_SECRET: SECRET });
    const again = async (answer: WebhookReceiver['answer']) => {
      const before = receiver.notices.length;
      receiver.answer = answer;
      // The pause between two tries doubles: not waited for here.
      await sleep(200);
      await api.sql.query(`UPDATE alerts SET next_attempt_at = now()`);
      await until(() => receiver.notices.length > before, { timeoutMs: 30_000 });
    };
    const failures = () => metric(api.app, 'alert_notices_total{result="failed"}');
    await receiver.close();
    await drop(api.sql);
    await until(async () => (await failures()) > 0, { timeoutMs: 30_000 });
    await receiver.open();
    const refused = await failures();
    for (const answer of [
      (response) => response.writeHead(500).end('no'),
      (response) => response.writeHead(302, { Location: elsewhere.url('/stolen') }).end(),
      (response) => response.writeHead(307, { Location: elsewhere.url('/stolen') }).end(),
      (response) => response.destroy(),
      (response) => response.writeHead(429, { 'Retry-After': '1' }).end(),
      // Neither of them ends: five seconds are all that it gets.
      () => undefined,
    ] satisfies WebhookReceiver['answer'][]) {
      await again(answer);
      await until(async () => (await failures()) >= refused + receiver.notices.length, { timeoutMs: 10_000 });
    }
    // A body without an end is not waited for.
    await again((response) => void response.writeHead(200).write('{'));
    await until(async () => (await metric(api.app, 'alert_notices_total{result="delivered"}')) === 1);
    await sleep(2_500);
    expect(receiver.notices).toHaveLength(7);
    expect(new Set(receiver.notices.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    expect(elsewhere.notices).toEqual([]);
    const lines = api.app.logs.filter(({ message }) => /ALERT_WEBHOOK_URL/.test(String(message)));
    expect(lines).toMatchObject([
      { level: 'error', problem: 'ECONNREFUSED', kind: 'broker_dropping' },
      { level: 'info', message: 'ALERT_WEBHOOK_URL takes alerts again' },
    ]);
    expect(JSON.stringify(api.app.logs)).not.toMatch(new RegExp(`canary|whsec_|:${receiver.port}`));
    await api.stop();
  }, 120_000);

  it('is waited for twice as long after each try', async () => {
    const receiver = await WebhookReceiver.start();
    receiver.answer = (response) => response.writeHead(503).end();
    const api = await Api.start({ ...FAST, ALERT_WEBHOOK_URL: receiver.url() });
    const due = async () =>
      (await api.sql.query<{ s: number }>(`SELECT extract(epoch FROM next_attempt_at - now())::float8 AS s FROM alerts`)).rows[0]!.s;
    await drop(api.sql);
    await until(() => receiver.notices.length === 3, { timeoutMs: 30_000 });
    // 20 s is how long the try itself may take.
    await until(async () => (await due()) < 10);
    expect(await due()).toBeGreaterThan(2);
    expect(await due()).toBeLessThanOrEqual(4);
    await api.sql.query(`UPDATE alerts SET attempts = 1000, next_attempt_at = now()`);
    await until(() => receiver.notices.length === 4);
    await until(async () => (await due()) > 290);
    expect(await due()).toBeLessThanOrEqual(300);
    // What ended a day ago is news to nobody.
    await api.sql.query(`UPDATE alerts SET resolved_at = now() - interval '25 hours', next_attempt_at = now()`);
    await sleep(2_500);
    expect(receiver.notices.filter(({ body }) => body['since'] === receiver.notices[0]!.body['since'])).toHaveLength(4);
    await api.stop();
  });

  it('gets what a process that was killed between claim and answer had to tell, from another one, with the same id', async () => {
    const receiver = await WebhookReceiver.start();
    receiver.answer = () => undefined;
    const env = { ...FAST, DATABASE_URL: (await createTestDatabase()).url, ALERT_WEBHOOK_URL: receiver.url() };
    const first = await startApp('api', env);
    await first.waitForReady();
    const sql = new pg.Client({ connectionString: env.DATABASE_URL });
    await sql.connect();
    await drop(sql);
    await until(() => receiver.notices.length === 1, { timeoutMs: 30_000 });
    await first.kill();
    receiver.answer = (response) => response.writeHead(204).end();
    const next = await startApp('api', env);
    await next.waitForReady();
    await sleep(3_000);
    // It may still be delivered by the one that has claimed it.
    expect(receiver.notices).toHaveLength(1);
    await until(() => receiver.notices.length === 2, { timeoutMs: 30_000 });
    const [before, after] = receiver.notices;
    expect(after!.headers['webhook-id']).toBe(before!.headers['webhook-id']);
    await sleep(2_500);
    expect(receiver.notices).toHaveLength(2);
    await sql.end();
    expect(await next.stop()).toBe(0);
  });

  it('is told that it began before it is told that it is over', async () => {
    const receiver = await WebhookReceiver.start();
    receiver.answer = (response) => response.writeHead(500).end();
    const api = await Api.start({ ...FAST, ALERT_WEBHOOK_URL: receiver.url() });
    await drop(api.sql);
    await until(() => receiver.notices.length > 0, { timeoutMs: 30_000 });
    await api.sql.query(`DELETE FROM broker_metrics`);
    await until(async () => (await api.sql.query(`SELECT FROM alerts WHERE resolved_at IS NOT NULL`)).rowCount === 1, {
      timeoutMs: 30_000,
    });
    const failed = receiver.notices.length;
    receiver.answer = (response) => response.writeHead(200).end();
    await until(() => receiver.states('broker_dropping').includes('resolved'), { timeoutMs: 60_000 });
    const states = receiver.states('broker_dropping');
    expect(states.slice(-2)).toEqual(['firing', 'resolved']);
    expect(states.length).toBeLessThanOrEqual(failed + 3);
    expect(receiver.notices.at(-1)!.body).toMatchObject({ summary: 'Over: The broker local dropped 12 messages within five minutes.' });
    await api.stop();
  }, 120_000);
});

describe('a look or a notice that the database refuses', () => {
  let api: Api;
  let receiver: WebhookReceiver;
  beforeAll(async () => {
    receiver = await WebhookReceiver.start();
    api = await Api.start({ ...FAST, ALERT_WEBHOOK_URL: receiver.url() });
  });

  const logged = (message: string) => api.app.logs.filter((line) => line.message === message).map(({ level, kind }) => [level, kind]);
  const due = (kind: string, resolvedAt = 'NULL', openedAt = 'now()') =>
    api.sql.query(
      `INSERT INTO alerts (alert_id, kind, subject, severity, summary, details, path, level, opened_at, resolved_at)
       VALUES (gen_random_uuid(), '${kind}', 'x', 'warning', 'Something.', '{}', '/', 0, ${openedAt}, ${resolvedAt})`,
    );

  it('is said once, keeps no other kind from being told, and works again by itself', async () => {
    await api.sql.query('REVOKE SELECT ON rejected_messages FROM tallystick_api');
    await until(async () => (await metric(api.app, 'alert_looks_failed_total{kind="quarantine_growing"}')) >= 3, { timeoutMs: 30_000 });
    await drop(api.sql);
    await until(() => receiver.states('broker_dropping').length === 1, { timeoutMs: 30_000 });
    const fails = [
      ['warn', 'ingest_stalled'],
      ['warn', 'quarantine_growing'],
    ];
    expect(logged('looking for alerts fails')).toEqual(fails);
    await api.sql.query('GRANT SELECT ON rejected_messages TO tallystick_api');
    await until(() => logged('looking for alerts works again').length === 2, { timeoutMs: 30_000 });
    expect(logged('looking for alerts fails')).toEqual(fails);
  });

  it('is delivered when it can be claimed, also if only a newer version knows its kind', async () => {
    await api.sql.query('REVOKE UPDATE (attempts) ON alerts FROM tallystick_api');
    await due('of_a_newer_version');
    const message = 'notices of alerts cannot be read or recorded';
    await until(() => logged(message).length === 1, { timeoutMs: 30_000 });
    await sleep(2_500);
    expect(logged(message)).toEqual([['warn', undefined]]);
    expect(receiver.states('of_a_newer_version')).toEqual([]);
    await api.sql.query('GRANT UPDATE (attempts) ON alerts TO tallystick_api');
    await until(() => receiver.states('of_a_newer_version').length === 1, { timeoutMs: 30_000 });
    // And recorded, in a round that ends well: until then a further refusal is not said again.
    await until(async () => {
      const { rows } = await api.sql.query(`SELECT FROM alerts WHERE kind = 'of_a_newer_version' AND notices = 1`);
      return rows.length === 1;
    });
    await sleep(2_500);
  });

  it('is told again when the answer could not be recorded, under the same id', async () => {
    await api.sql.query('REVOKE UPDATE (notices) ON alerts FROM tallystick_api');
    await due('unrecorded');
    const refusals = logged('notices of alerts cannot be read or recorded').length;
    await until(() => receiver.states('unrecorded').length === 1, { timeoutMs: 30_000 });
    await until(() => logged('notices of alerts cannot be read or recorded').length > refusals);
    await api.sql.query('GRANT UPDATE (notices) ON alerts TO tallystick_api');
    await until(() => receiver.states('unrecorded').length === 2, { timeoutMs: 40_000 });
    const ids = receiver.notices.filter(({ body }) => body.kind === 'unrecorded').map(({ headers }) => headers['webhook-id']);
    expect(new Set(ids).size).toBe(1);
    await sleep(2_500);
    expect(receiver.states('unrecorded')).toHaveLength(2);
  });

  it('does not hold up the others when a frozen process has the alert: its transaction is ended by the server', async () => {
    const frozen = new pg.Client({ connectionString: api.databaseUrl });
    frozen.on('error', () => undefined);
    await frozen.connect();
    // What a look begins with, and then nothing more.
    await frozen.query(`BEGIN`);
    await frozen.query(
      `SELECT set_config('idle_in_transaction_session_timeout', '3s', true), pg_advisory_xact_lock(hashtextextended('tallystick.alerts.broker_dropping', 0))`,
    );
    await drop(api.sql, 'second');
    await sleep(2_000);
    const subjects = async () =>
      (await api.sql.query<{ subject: string }>(`SELECT subject FROM alerts`)).rows.map(({ subject }) => subject);
    expect(await subjects()).not.toContain('broker/second');
    await until(async () => (await subjects()).includes('broker/second'), { timeoutMs: 30_000 });
  });

  it('is removed 90 days after it ended', async () => {
    await due('broker_dropping', `now() - interval '91 days'`, `now() - interval '92 days'`);
    await due('batch_failed', `now() - interval '89 days'`, `now() - interval '92 days'`);
    const kinds = async () =>
      (await api.sql.query<{ kind: string }>(`SELECT kind FROM alerts WHERE opened_at < now() - interval '91 days'`)).rows.map(
        ({ kind }) => kind,
      );
    await until(async () => (await kinds()).length === 1, { timeoutMs: 30_000 });
    expect(await kinds()).toEqual(['batch_failed']);
  });

  it('is left to its claim when the process is asked to stop in the middle of a POST', async () => {
    receiver.notices.length = 0;
    receiver.answer = () => undefined;
    await due('interrupted');
    await until(() => receiver.states('interrupted').length === 1, { timeoutMs: 30_000 });
    const askedAt = Date.now();
    await api.stop();
    expect(Date.now() - askedAt).toBeLessThan(4_000);
    expect(api.app.logs.filter(({ level }) => level === 'error')).toEqual([]);
  });
});
