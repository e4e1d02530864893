import { startApp, startTestBroker, until } from '@tallystick/testing';
import { client, readyWatcher, sessions, startWatcher } from './watcher.js';

describe('a watcher that is killed soon after the broker’s start', () => {
  it('is followed by one that leaves the sessions of that run open', async () => {
    const broker = await startTestBroker({ configLines: ['sys_interval 5'] });
    const { app, env, sql } = await startWatcher(broker.url);
    await until(async () => (await sql.query(`SELECT FROM broker_state WHERE last_uptime IS NOT NULL`)).rowCount === 1);
    await broker.restart();
    // It has read of the start in the log, and not yet heard an uptime of the new run.
    await until(async () => (await sql.query(`SELECT FROM events WHERE raw LIKE '%mosquitto version % running'`)).rowCount === 1);
    const present = await client(broker.url, 'present');
    await until(async () => (await sessions(sql, 'present')).length === 1);
    await app.kill();
    // The old run was older than the new one will be for the length of this test.
    await sql.query(`UPDATE broker_state SET last_uptime = 100000`);
    const next = await readyWatcher(env);
    await until(async () => (await sql.query(`SELECT FROM broker_state WHERE last_uptime < 100000`)).rowCount === 1);
    expect(await sessions(sql, 'present')).toMatchObject([{ is_open: true, end_reason: null }]);
    await present.endAsync();
    expect(await next.stop()).toBe(0);
  });
});

describe('a watcher that is killed as soon as it has started', () => {
  it('leaves a gap that the next one’s does not overlap', async () => {
    const broker = await startTestBroker({ configLines: ['sys_interval 5'] });
    const { app, env, sql } = await startWatcher(broker.url);
    await until(async () => (await sql.query(`SELECT FROM broker_state WHERE watched_until IS NOT NULL`)).rowCount === 1);
    await app.kill();
    await sql.query(`UPDATE broker_state SET watched_until = now() - interval '10 minutes'`);
    const gaps = async () =>
      (await sql.query<{ from_ts: Date; to_ts: Date }>(`SELECT from_ts, to_ts FROM observation_gaps ORDER BY id`)).rows;
    const brief = await startApp('broker-watcher', env);
    await until(async () => (await gaps()).length === 1, { intervalMs: 10 });
    await brief.kill();
    const { rows } = await sql.query(`SELECT FROM broker_state WHERE watched_until < now() - interval '9 minutes'`);
    expect(rows).toHaveLength(1);
    // Longer than the broker keeps its lines, so that there is another gap.
    await sql.query(`UPDATE observation_gaps SET from_ts = from_ts - interval '1 minute', to_ts = to_ts - interval '1 minute'`);
    const next = await readyWatcher(env);
    await until(async () => (await gaps()).length === 2);
    const [first, second] = await gaps();
    expect(second!.from_ts.getTime()).toBeGreaterThanOrEqual(first!.to_ts.getTime());
    expect(await next.stop()).toBe(0);
  });
});
