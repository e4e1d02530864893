import { createTestDatabase, startApp, startTestBroker, until } from '@tallystick/testing';
import pg from 'pg';
import { compare, SteadyPublisher, totals } from './broker-ledger.js';

const MESSAGES = process.env['FAULTS'] === 'long' ? 40_000 : 10_000;
const RATE_PER_S = 2_000;
const KILL_AT = [MESSAGES * 0.25, MESSAGES * 0.6];

describe('two bridges on one shared subscription', () => {
  it(`store ${MESSAGES} messages once, one of them killed twice`, async () => {
    const [broker, database] = await Promise.all([startTestBroker(), createTestDatabase()]);
    const env = { DATABASE_URL: database.url, DATABASE_ALLOW_DATA_LOSS: 'true', MQTT_URL: broker.url, MQTT_SHARED_GROUP: 'bridges' };
    const start = async (clientId: string) => {
      const app = await startApp('ingest-bridge', { ...env, MQTT_CLIENT_ID: clientId });
      await app.waitForReady();
      return app;
    };
    const steady = await start('bridge-1');
    let killed = await start('bridge-2');
    const sql = new pg.Client({ connectionString: database.url });
    sql.on('error', () => undefined);
    await sql.connect();

    const publisher = new SteadyPublisher(broker.url, RATE_PER_S);
    publisher.start(MESSAGES);
    for (const killAt of KILL_AT) {
      await until(() => publisher.acknowledged.length >= killAt, { timeoutMs: 60_000 });
      await killed.kill();
      killed = await start('bridge-2');
    }
    await publisher.done();
    await until(async () => (await compare(sql, publisher)).lost === 0, { timeoutMs: 40_000, intervalMs: 200 });
    // Stopped in order, each delivers what it holds; nothing may come on top.
    expect(await Promise.all([steady.stop(), killed.stop()])).toEqual([0, 0]);
    expect(publisher.inDoubt).toEqual([]);
    expect(await compare(sql, publisher)).toEqual({ lost: 0, doubled: 0, unknown: 0 });
    expect(await totals(sql)).toEqual({ rows: MESSAGES, inBatches: MESSAGES, ofDevices: MESSAGES, failedBatches: 0 });
    const { rows } = await sql.query<{ receiver: string; pending: string }>(
      `SELECT receiver, count(*) FILTER (WHERE status = 'pending') AS pending FROM batches GROUP BY 1 ORDER BY 1`,
    );
    // Both took part, and nothing is left open.
    expect(rows).toEqual([
      { receiver: 'bridge-1', pending: '0' },
      { receiver: 'bridge-2', pending: '0' },
    ]);
  }, 240_000);
});
