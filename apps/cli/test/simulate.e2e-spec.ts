import { loadConfig, MqttSettings } from '@tallystick/config';
import { createTestDatabase, startApp, startTestBroker } from '@tallystick/testing';
import pg from 'pg';
import { simulate, type SimulationOptions } from '../src/simulate/simulate.js';
import { exitCodeOf } from '../src/simulate/simulation-result.js';

const silent = { write: () => undefined };

async function startRecord() {
  const broker = await startTestBroker();
  const database = await createTestDatabase();
  const sql = new pg.Client({ connectionString: database.url });
  // The database is dropped under the connection when the spec's file ends.
  sql.on('error', () => undefined);
  await sql.connect();
  const bridge = await startApp('ingest-bridge', { DATABASE_URL: database.url, DATABASE_ALLOW_DATA_LOSS: 'true', MQTT_URL: broker.url });
  await bridge.waitForReady();
  const options: SimulationOptions = {
    devices: 10,
    rate: 0,
    tenants: 1,
    count: 1_000,
    topicRoot: 'veep',
    seed: 1,
    qos: 1,
    mqtt: loadConfig(MqttSettings, { MQTT_URL: broker.url, MQTT_CLIENT_ID: 'unused' }),
    databaseUrl: database.url,
  };
  return { bridge, sql, options };
}

describe('tallystick simulate with broker, bridge and database', () => {
  it('sends 1,000 messages that become one complete batch', async () => {
    const { sql, options } = await startRecord();
    const result = await simulate(options, { progress: silent, result: silent });
    expect(result).toMatchObject({ published: 1_000, acknowledged: 1_000, stored: 1_000, refused: 0, withoutSubscriber: 0 });
    expect(exitCodeOf(result)).toBe(0);

    const { rows: batches } = await sql.query('SELECT tenant_id, status, message_count, close_reason FROM batches');
    expect(batches).toEqual([{ tenant_id: 'factory1', status: 'complete', message_count: 1_000, close_reason: 'size' }]);
    const { rows: devices } = await sql.query('SELECT device_id, message_count, firmware_version IS NOT NULL AS firmware FROM devices');
    expect(devices).toHaveLength(10);
    expect(devices.every(({ message_count, firmware }) => message_count === '100' && firmware)).toBe(true);
    const { rows: rejected } = await sql.query('SELECT FROM rejected_messages');
    expect(rejected).toEqual([]);
  });

  it('counts its own messages and not those of another simulation with the same devices', async () => {
    const { options } = await startRecord();
    const output = { progress: silent, result: silent };
    const results = await Promise.all([simulate(options, output), simulate({ ...options, count: 500, tenants: 3 }, output)]);
    expect(results.map(({ stored }) => stored)).toEqual([1_000, 500]);
  });

  it('says what is missing when the bridge is gone', async () => {
    const { bridge, options } = await startRecord();
    await bridge.stop();
    let said = '';
    const result = await simulate({ ...options, count: 5 }, { progress: silent, result: { write: (text) => (said += text) } });
    expect(result).toMatchObject({ acknowledged: 5, stored: 0 });
    expect(exitCodeOf(result)).toBe(1);
    expect(said).toContain('5 are not in the record: is ingest-bridge running');
  });
});
