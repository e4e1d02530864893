import { createEmptyDatabase, createTestDatabase, startApp, startTestBroker, until } from '@tallystick/testing';
import { freePort } from '@tallystick/embedded';

describe('starting ingest-bridge', () => {
  it('lists every problem of its configuration at once, starts nothing and exits 78', async () => {
    const app = await startApp('ingest-bridge', {
      BATCH_SIZE: '0',
      MQTT_TOPICS: 'veep/#',
      WRITER_LANES: 'two',
      QUARANTINE_MAX_BYTES: '1000',
      QUARANTINE_MAX_AGE_DAYS: '0',
      LOG_LEVEL: 'loud',
      PORT: '70000',
      DEDUP_KEY: 'name',
      DEDUP_KEY_HOURS: '191',
      MQTT_PROTOCOL_VERSION: '3.1.1',
    });
    expect((await app.exited).code).toBe(78);
    const output = app.logs.map((line) => line.message).join('\n');
    for (const name of [
      'BATCH_SIZE',
      'MQTT_TOPICS',
      'WRITER_LANES',
      'QUARANTINE_MAX_BYTES',
      'QUARANTINE_MAX_AGE_DAYS',
      'LOG_LEVEL',
      'PORT',
      'DATABASE_HOST',
      'MQTT_URL',
      'DEDUP_KEY_HOURS',
    ])
      expect(output).toContain(`${name}: `);
    expect(output).toContain('DEDUP_KEY: needs MQTT 5');
  });

  it('refuses a database without the schema, with the command that makes it', async () => {
    const [broker, database] = await Promise.all([startTestBroker(), createEmptyDatabase()]);
    const app = await startApp('ingest-bridge', { DATABASE_URL: database.url, DATABASE_ALLOW_DATA_LOSS: 'true', MQTT_URL: broker.url });
    expect((await app.exited).code).toBe(65);
    expect(JSON.stringify(app.logs)).toContain('tallystick migrate');
  });

  it('refuses a database that may lose what it has acknowledged', async () => {
    const [broker, database] = await Promise.all([startTestBroker(), createTestDatabase()]);
    const app = await startApp('ingest-bridge', { DATABASE_URL: database.url, MQTT_URL: broker.url });
    expect((await app.exited).code).toBe(78);
    expect(JSON.stringify(app.logs)).toContain('fsync = off');
  });

  it('stays up and alive, but not ready, while the database and the broker are away', async () => {
    const away = await freePort();
    const app = await startApp('ingest-bridge', { DATABASE_URL: `postgres://x@127.0.0.1:${away}/x`, MQTT_URL: `mqtt://127.0.0.1:${away}` });
    expect((await fetch(`${app.url}/livez`)).status).toBe(200);
    expect((await fetch(`${app.url}/readyz`)).status).toBe(503);
    await until(() => app.logs.some((line) => line.message === 'database not reachable, trying again'));
    expect(await app.stop()).toBe(0);
  });
});
