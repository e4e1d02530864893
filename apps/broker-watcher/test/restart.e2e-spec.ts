import { startTestBroker, until } from '@tallystick/testing';
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
