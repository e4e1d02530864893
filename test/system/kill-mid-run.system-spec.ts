import { setTimeout as sleep } from 'node:timers/promises';
import { createTestDatabase, startApp, startTestBroker, until } from '@tallystick/testing';
import { connectAsync } from 'mqtt';
import pg from 'pg';

const MESSAGES = 2_500;
const RATE_PER_S = 500;
const KILL_AFTER_MS = 2_000;

describe('kill -9 of the bridge in mid-run', () => {
  it('loses no message that the broker took, and doubles none', async () => {
    const [broker, database] = await Promise.all([startTestBroker(), createTestDatabase()]);
    const env = { DATABASE_URL: database.url, DATABASE_ALLOW_DATA_LOSS: 'true', MQTT_URL: broker.url };
    const first = await startApp('ingest-bridge', env);
    await first.waitForReady();
    const sql = new pg.Client({ connectionString: database.url });
    sql.on('error', () => undefined);
    await sql.connect();

    // The ledger of what was published, kept apart from everything that the product writes.
    const published: string[] = [];
    const device = await connectAsync(broker.url, { protocolVersion: 5, reconnectPeriod: 0 });
    const publishing = (async () => {
      for (let i = 0; i < MESSAGES; i++) {
        const payload = JSON.stringify({ seq: i, kwh: i / 7 });
        await device.publishAsync(`veep/factory${i % 3}/line1/meter${i % 11}/data`, payload, { qos: 1 });
        published.push(payload);
        if (i % 10 === 9) await sleep((10 / RATE_PER_S) * 1000);
      }
    })();

    await sleep(KILL_AFTER_MS);
    await first.kill();
    const atKill = Number((await sql.query<{ count: string }>('SELECT count(*) FROM messages')).rows[0]!.count);
    expect(atKill).toBeGreaterThan(0);
    expect(atKill).toBeLessThan(MESSAGES);
    const second = await startApp('ingest-bridge', env);
    await second.waitForReady();
    await publishing;

    const stored = async () =>
      new Set((await sql.query<{ payload: Buffer }>('SELECT payload FROM messages')).rows.map((row) => row.payload.toString()));
    await until(async () => (await stored()).size >= MESSAGES, { timeoutMs: 20_000, intervalMs: 200 });
    const rows = await stored();
    const { rows: total } = await sql.query<{ count: string }>('SELECT count(*) FROM messages');
    expect(Number(total[0]!.count)).toBe(MESSAGES);
    expect(published.filter((payload) => !rows.has(payload))).toEqual([]);
    await device.endAsync();
    expect(await second.stop()).toBe(0);
  });
});
