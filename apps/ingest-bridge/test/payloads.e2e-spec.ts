import { startAedes } from '@tallystick/embedded';
import { startTestBroker, until } from '@tallystick/testing';
import type { MqttClient } from 'mqtt';
import { type Bridge, count, publisher, sha256, startBridge } from './bridge.js';

const TOPIC = 'veep/factory1/line2/SENSOR_001/data';

/** Payloads that a careless JSON path damages, and whether jsonb holds them. */
const EXACT: [string, boolean][] = [
  ['{"data":{"kwh":1},"id":"7","pattern":"x"}', true],
  ['{"data":1}', true],
  ['{"id":1,"response":null,"isDisposed":true}', true],
  ['{"a":1,"a":2}', true],
  ['{"big":1e400,"minus":-0,"long":12345678901234567890,"exp":1E2}', true],
  ['23.5', true],
  ['"text"', true],
  ['null', true],
  [' [ 1 ,\t2 ]\r\n', true],
  ['{"back":"\\\\.","tab":"\\t"}', true],
  ['{"a":"\\u0000"}', false],
  ['{"lone":"\\ud800"}', false],
  ['{"huge":1e999999}', false],
  ['{"emoji":"😀","rtl":"\u202e","sql":"\'; DROP TABLE messages; --"}', true],
];

const REFUSED: [string, Buffer, string?][] = [
  ['not_json', Buffer.from('{nope')],
  ['not_json', Buffer.from('')],
  ['not_json', Buffer.from([0, 255, 254])],
  ['payload_too_large', Buffer.alloc(262_145, '1')],
  ['payload_too_large', Buffer.alloc(10_000_000, '1')],
  ['too_deep', Buffer.from('['.repeat(100_000))],
  ['device_mismatch', Buffer.from('{"deviceId":"SENSOR_002"}')],
  ['bad_timestamp', Buffer.from('{"timestamp":"soon"}')],
  ['topic_mismatch', Buffer.from('{}'), 'veep//line2/SENSOR_001/data'],
  ['identifier_too_long', Buffer.from('{}'), `veep/t/s/${'d'.repeat(101)}/data`],
];

describe('payloads', () => {
  let bridge: Bridge;
  let device: MqttClient;
  beforeAll(async () => {
    const broker = await startTestBroker();
    bridge = await startBridge(broker.url);
    device = await publisher(broker.url);
  });
  afterAll(() => device.endAsync());

  it('stores every JSON text byte for byte, searchable or with the reason why not', async () => {
    for (const [payload] of EXACT) await device.publishAsync(TOPIC, payload, { qos: 1 });
    await until(async () => (await count(bridge.sql, 'messages')) === EXACT.length);
    const { rows } = await bridge.sql.query(
      'SELECT payload, payload_size, message_hash, raw_data IS NOT NULL OR payload = $1 AS searchable, raw_data_error FROM messages ORDER BY message_id',
      [Buffer.from('null')],
    );
    for (const [index, [payload, searchable]] of EXACT.entries()) {
      const bytes = Buffer.from(payload);
      expect(rows[index]).toMatchObject({ payload: bytes, payload_size: bytes.length, message_hash: sha256(bytes), searchable });
      expect(rows[index].raw_data_error === null).toBe(searchable);
    }
  });

  it('quarantines what breaks the rules, with its bytes and the reason', async () => {
    for (const [, payload, topic] of REFUSED) await device.publishAsync(topic ?? TOPIC, payload, { qos: 1 });
    await until(async () => (await count(bridge.sql, 'rejected_messages')) === REFUSED.length);
    const { rows } = await bridge.sql.query('SELECT * FROM rejected_messages ORDER BY rejection_id');
    for (const [index, [reason, payload, topic]] of REFUSED.entries()) {
      const kept = payload.subarray(0, 262_144);
      expect(rows[index]).toMatchObject({
        reason,
        topic: topic ?? TOPIC,
        payload_size: payload.length,
        payload_hash: sha256(payload),
        truncated: kept.length < payload.length,
      });
      expect(kept.equals(rows[index].payload)).toBe(true);
      expect(rows[index].detail).toEqual(expect.any(String));
    }
    expect(await count(bridge.sql, 'messages')).toBe(EXACT.length);
  });

  it('keeps equal payloads as the separate messages they are', async () => {
    const before = await count(bridge.sql, 'messages');
    for (let i = 0; i < 5; i++) await device.publishAsync(TOPIC, '{"state":"off"}', { qos: 1 });
    await until(async () => (await count(bridge.sql, 'messages')) === before + 5);
  });

  it('stores QoS 0 and QoS 2 publishes, the latter acknowledged as QoS 1', async () => {
    await device.publishAsync('veep/t/s/q0/data', '0', { qos: 0 });
    await device.publishAsync('veep/t/s/q2/data', '2', { qos: 2 });
    await until(async () => {
      const { rows } = await bridge.sql.query(`SELECT device_id, qos FROM messages WHERE tenant_id = 't' ORDER BY device_id`);
      return (
        JSON.stringify(rows) ===
        JSON.stringify([
          { device_id: 'q0', qos: 0 },
          { device_id: 'q2', qos: 1 },
        ])
      );
    });
  });

  it('counts them: received = stored + rejected', async () => {
    const metrics = await (await fetch(`${bridge.app.url}/metrics`)).text();
    const value = (series: string) =>
      Number(
        metrics
          .split('\n')
          .find((line) => line.startsWith(`${series} `))
          ?.split(' ')
          .at(-1),
      );
    expect(value('mqtt_messages_processed_total{result="stored"}')).toBe(await count(bridge.sql, 'messages'));
    expect(value('mqtt_messages_processed_total{result="rejected"}')).toBe(REFUSED.length);
    expect(value('mqtt_messages_received_total')).toBe((await count(bridge.sql, 'messages')) + REFUSED.length);
    expect(value('mqtt_connection_status')).toBe(1);
    expect(metrics).not.toMatch(/SENSOR_001|factory1/);
  });
});

describe('a broker without MQTT 5', () => {
  it('falls back to 3.1.1 and loses nothing', async () => {
    const broker = await startAedes({ port: 0 });
    try {
      const { sql, app } = await startBridge(broker.url);
      const device = await publisher(broker.url).catch(() => undefined);
      expect(device).toBeUndefined();
      const old = await (await import('mqtt')).connectAsync(broker.url, { protocolVersion: 4 });
      await Promise.all(Array.from({ length: 100 }, (_, i) => old.publishAsync(TOPIC, `${i}`, { qos: 1 })));
      await until(async () => (await count(sql, 'messages')) === 100);
      await old.endAsync();
      expect(await app.stop()).toBe(0);
    } finally {
      await broker.stop();
    }
  });
});
