import { freePort } from '@tallystick/embedded';
import { createEmptyDatabase, createTestDatabase, startApp, startTestBroker, until } from '@tallystick/testing';
import { connectAsync } from 'mqtt';
import pg from 'pg';
import { OWN_CLIENT, startWatcher } from './watcher.js';

describe('starting broker-watcher', () => {
  it('lists every problem of its configuration at once, starts nothing and exits 78', async () => {
    const app = await startApp('broker-watcher', {
      MAX_UNACKNOWLEDGED: '0',
      METRICS_RAW_DAYS: '30',
      METRICS_1M_DAYS: '29',
      BROKER_NAME: 'x'.repeat(101),
      LOG_LEVEL: 'loud',
      PORT: '70000',
    });
    expect((await app.exited).code).toBe(78);
    const output = app.logs.map((line) => line.message).join('\n');
    for (const name of ['MAX_UNACKNOWLEDGED', 'METRICS_1M_DAYS', 'BROKER_NAME', 'LOG_LEVEL', 'PORT', 'DATABASE_HOST', 'MQTT_URL'])
      expect(output).toContain(`${name}: `);
  });

  it('refuses a database without the schema, with the command that makes it', async () => {
    const [broker, database] = await Promise.all([startTestBroker(), createEmptyDatabase()]);
    const app = await startApp('broker-watcher', { DATABASE_URL: database.url, DATABASE_ALLOW_DATA_LOSS: 'true', MQTT_URL: broker.url });
    expect((await app.exited).code).toBe(65);
    expect(JSON.stringify(app.logs)).toContain('tallystick migrate');
  });

  it('stays up and alive, but not ready, while the database and the broker are away', async () => {
    const away = await freePort();
    const app = await startApp('broker-watcher', {
      DATABASE_URL: `postgres://x@127.0.0.1:${away}/x`,
      MQTT_URL: `mqtt://127.0.0.1:${away}`,
    });
    expect((await fetch(`${app.url}/livez`)).status).toBe(200);
    expect((await fetch(`${app.url}/readyz`)).status).toBe(503);
    await until(() => app.logs.some((line) => line.message === 'database not reachable, trying again'));
    expect(await app.stop()).toBe(0);
  });

  it('does not wait for a lock for ever: it says so, tries again, and leaves nothing waiting in the server', async () => {
    const [broker, database] = await Promise.all([startTestBroker(), createTestDatabase()]);
    const stuck = new pg.Client({ connectionString: database.url });
    await stuck.connect();
    await stuck.query(`SELECT pg_advisory_lock(hashtextextended('tallystick.receiver.' || $1, 0))`, [OWN_CLIENT]);
    const app = await startApp('broker-watcher', { DATABASE_URL: database.url, DATABASE_ALLOW_DATA_LOSS: 'true', MQTT_URL: broker.url });
    const waiting = async () => (await stuck.query(`SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`)).rowCount;
    await until(async () => (await waiting()) === 1);
    const refused = () => app.logs.filter((line) => String(line.reason).includes('lock timeout')).length;
    await until(() => refused() >= 1, { timeoutMs: 15_000 });
    expect((await fetch(`${app.url}/readyz`)).status).toBe(503);
    await until(async () => (await waiting()) === 1);
    await stuck.query('SELECT pg_advisory_unlock_all()');
    await app.waitForReady();
    await stuck.end();
    expect(await app.stop()).toBe(0);
  });

  it('gives way to another watcher of its broker', async () => {
    const broker = await startTestBroker({ configLines: ['sys_interval 1'] });
    const first = await startWatcher(broker.url);
    const second = await startApp('broker-watcher', first.env);
    await second.waitForReady();
    expect((await first.app.exited).code).toBe(76);
    expect(await second.stop()).toBe(0);
  });

  it('gives way to the watcher of another broker that was given the same name', async () => {
    const [own, other] = await Promise.all([startTestBroker({ configLines: ['sys_interval 1'] }), startTestBroker()]);
    const first = await startWatcher(own.url);
    const second = await startApp('broker-watcher', { ...first.env, MQTT_URL: other.url, MQTT_CLIENT_ID: 'second-watcher' });
    await second.waitForReady();
    const present = await connectAsync(own.url, { protocolVersion: 4, clientId: 'present', reconnectPeriod: 0 });
    expect((await first.app.exited).code).toBe(76);
    expect(JSON.stringify(first.app.logs)).toContain('give each watcher a name');
    const { rows } = await first.sql.query(`SELECT FROM events WHERE client = 'present'`);
    expect(rows).toEqual([]);
    await present.endAsync();
    expect(await second.stop()).toBe(0);
  });
});
