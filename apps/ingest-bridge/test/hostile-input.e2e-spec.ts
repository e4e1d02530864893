import { setTimeout as sleep } from 'node:timers/promises';
import { startAedes } from '@tallystick/embedded';
import { onCleanUp, type RunningApp, startApp, startTestBroker, type TestBroker, until } from '@tallystick/testing';
import fc from 'fast-check';
import { connectAsync, type MqttClient } from 'mqtt';
import type pg from 'pg';
import { type Bridge, count, metric, publisher, sha256, startBridge } from './bridge.js';

const TOPIC = 'veep/t/s/d/data';
/** Tenant, site and device as nobody sane would name them. Each must come back as it was sent. */
const NAMES = [
  `'; DROP TABLE messages; --`,
  `" OR 1=1 --`,
  '\\N',
  '\\.',
  '$1',
  '{a,"b",NULL}',
  '%s%n_',
  '__proto__',
  'constructor',
  '<img src=x onerror=alert(1)>',
  ' leading and trailing ',
  '\u202egnitirw desrever\u202c',
  '\u200f\u2066x\u2069',
  'line\u2028and\u2029paragraph',
  'e\u0301 and \u00e9',
  'ÄÖÜ and äöü',
  '😀'.repeat(80),
  'd'.repeat(80),
  '..',
  'NULL',
];
/** Control characters: Mosquitto disconnects who sends them in a topic, other brokers pass them on. */
const CONTROLS = ['\u0001\u0008', 'tab\there', 'line\nfeed', 'carriage\r\nreturn', '\u001b[31mred', '\u007f\u009f', '\ufeffmark'];

/** Longest answer of /livez in ms while `during` runs. */
async function slowestAnswer(app: RunningApp, during: Promise<unknown>): Promise<number> {
  let over = false;
  void during.finally(() => (over = true));
  let slowest = 0;
  while (!over) {
    const startedAtMs = performance.now();
    expect((await fetch(`${app.url}/livez`)).status).toBe(200);
    slowest = Math.max(slowest, performance.now() - startedAtMs);
    await sleep(5);
  }
  return slowest;
}

async function residentMegabytes(app: RunningApp): Promise<number> {
  const metrics = await (await fetch(`${app.url}/metrics`)).text();
  return Number(/^process_resident_memory_bytes (\S+)/m.exec(metrics)![1]) / 2 ** 20;
}

async function rejections(sql: pg.Client, tenantId: string): Promise<{ reason: string; count: number }[]> {
  const { rows } = await sql.query<{ reason: string; count: number }>(
    'SELECT reason, count(*)::int FROM rejected_messages WHERE tenant_id = $1 GROUP BY 1 ORDER BY 1',
    [tenantId],
  );
  return rows;
}

/** Publishes a message under each name as tenant, site and device, and expects these very names in the tables. */
async function expectKept(sql: pg.Client, device: MqttClient, names: readonly string[]): Promise<void> {
  for (const name of names) await device.publishAsync(`veep/${name}/${name}/${name}/data`, JSON.stringify({ name }), { qos: 1 });
  await until(async () => (await count(sql, 'messages')) === names.length);
  const { rows } = await sql.query('SELECT tenant_id, site_id, device_id, topic, raw_data FROM messages ORDER BY message_id');
  const expected = (name: string) => ({ tenant_id: name, site_id: name, device_id: name, topic: `veep/${name}/${name}/${name}/data`, raw_data: { name } }); // prettier-ignore
  expect(rows).toEqual(names.map(expected));
  const devices = await sql.query<{ device_id: string }>('SELECT device_id FROM devices WHERE tenant_id = device_id AND message_count = 1');
  expect(devices.rows.map((row) => row.device_id).sort()).toEqual([...names].sort());
}

describe('hostile input', () => {
  let broker: TestBroker;
  let bridge: Bridge;
  let device: MqttClient;
  beforeEach(async () => {
    broker = await startTestBroker();
    bridge = await startBridge(broker.url, {
      MAX_NEW_DEVICES_PER_MINUTE: expect.getState().currentTestName?.includes('flood') ? '50' : '10000',
    });
    device = await publisher(broker.url);
  });
  afterEach(async () => {
    await device.endAsync();
    expect(await bridge.app.stop()).toBe(0);
  });

  it('too deep, too large or of too many keys is refused before it is parsed, and holds nobody up', async () => {
    const deep = Buffer.from(`${'{"a":'.repeat(40_000)}`);
    const large = Buffer.alloc(10_000_000, '1');
    const manyKeys = Buffer.from(`{${Array.from({ length: 1_000_000 }, (_, i) => `"${i}":0`).join()}}`);
    const EACH = 6;
    const flood = async () => {
      for (let i = 0; i < EACH; i++) {
        await Promise.all(
          [deep, Buffer.alloc(100_000, '['), large, manyKeys].map((payload) => device.publishAsync(TOPIC, payload, { qos: 1 })),
        );
      }
      await until(async () => (await count(bridge.sql, 'rejected_messages')) === 4 * EACH, { timeoutMs: 30_000 });
    };
    const slowestMs = await slowestAnswer(bridge.app, flood());
    const residentMb = await residentMegabytes(bridge.app);
    process.stdout.write(`slowest /livez ${slowestMs.toFixed(0)} ms, ${residentMb.toFixed(0)} MB resident\n`);
    expect(slowestMs).toBeLessThan(2_000); // what a busy machine may add is most of it
    expect(residentMb).toBeLessThan(400);
    expect(await rejections(bridge.sql, 't')).toEqual([
      { reason: 'payload_too_large', count: 2 * EACH },
      { reason: 'too_deep', count: 2 * EACH },
    ]);
    const { rows } = await bridge.sql.query(
      `SELECT DISTINCT payload_hash, payload_size FROM rejected_messages WHERE payload_size > 262144 ORDER BY 2`,
    );
    expect(rows).toEqual([large, manyKeys].sort((a, b) => a.length - b.length).map((payload) => ({ payload_hash: sha256(payload), payload_size: payload.length }))); // prettier-ignore
  });

  it('in topics: empty levels and endless ones are quarantined with the topic as it was, other depths never arrive', async () => {
    const longest = `veep/t/s/${'d'.repeat(65_535 - 14)}/data`;
    const refused = ['veep//s/d/data', 'veep/t//d/data', 'veep/t/s//data', 'veep////data', longest, `veep/${'ü'.repeat(101)}/s/d/data`];
    const elsewhere = [`veep${'/x'.repeat(199)}`, 'veep/t/s/d/e/data', 'veep/t/s/data', '/veep/t/s/d/data', 'veep/t/s/d/data/', '/////'];
    for (const topic of [...refused, ...elsewhere, TOPIC]) await device.publishAsync(topic, '{}', { qos: 1 });
    await until(async () => (await count(bridge.sql, 'messages')) === 1);
    const { rows } = await bridge.sql.query<{ topic: string; reason: string }>(
      'SELECT topic, reason FROM rejected_messages ORDER BY rejection_id',
    );
    expect(rows.map(({ topic }) => topic)).toEqual(refused);
    expect(rows.map(({ reason }) => reason)).toEqual([
      ...Array<string>(4).fill('topic_mismatch'),
      'identifier_too_long',
      'identifier_too_long',
    ]);
  });

  it('in a flood of endless topics takes no more memory than other input, while the database is away and afterwards', async () => {
    const [FLOOD, TOPIC_BYTES, HELD_BYTES] = [1_500, 60_000, 64 * 2 ** 20];
    await bridge.sql.query('BEGIN; LOCK TABLE rejected_messages IN ACCESS EXCLUSIVE MODE');
    const topics = Array.from({ length: FLOOD }, (_, i) => `veep/${String(i).padEnd(TOPIC_BYTES, 'x')}/s/d/data`);
    await Promise.all(topics.map((topic) => device.publishAsync(topic, '', { qos: 1 })));
    const unacknowledged = () => metric(bridge.app, 'mqtt_messages_unacknowledged');
    await until(async () => (await unacknowledged()) > HELD_BYTES / (TOPIC_BYTES + 100));
    await sleep(1_000);
    expect(await unacknowledged()).toBeLessThan(HELD_BYTES / TOPIC_BYTES + 1);
    await bridge.sql.query('COMMIT');
    await until(async () => (await count(bridge.sql, 'rejected_messages')) === FLOOD, { timeoutMs: 60_000 });
    const residentMb = await residentMegabytes(bridge.app);
    // The last ones are remembered by the next process too.
    expect(await bridge.app.stop()).toBe(0);
    bridge.app = await startApp('ingest-bridge', bridge.env);
    await bridge.app.waitForReady();
    const [restartedMb, { rows }] = [
      await residentMegabytes(bridge.app),
      await bridge.sql.query<{ topic: string }>('SELECT topic FROM rejected_messages ORDER BY rejection_id'),
    ];
    process.stdout.write(`${residentMb.toFixed(0)} MB resident, ${restartedMb.toFixed(0)} MB after a restart\n`);
    expect(rows.map(({ topic }) => topic)).toEqual(topics);
    expect(restartedMb).toBeLessThan(200);
  });

  it('in the names of tenant, site and device is kept character for character', async () => {
    await expectKept(bridge.sql, device, NAMES);
    // Characters are counted as PostgreSQL does: 100 of them may take 200 UTF-16 units or 400 bytes.
    await device.publishAsync(`veep/t/s/${'😀'.repeat(100)}/data`, '{}', { qos: 1 });
    await until(async () => (await count(bridge.sql, 'messages')) === NAMES.length + 1);
    expect(await count(bridge.sql, 'rejected_messages')).toBe(0);
  });

  it('of a payload that claims another tenant is never stored under that tenant', async () => {
    const claims = [`{"tenantId":"victim"}`, `{"tenantId":["t"]}`, `{"deviceId":"victim"}`, `{"tenantId":"t","tenantId":"victim"}`];
    for (const claim of claims) await device.publishAsync(TOPIC, claim, { qos: 1 });
    await device.publishAsync(TOPIC, `{"tenantId":"t","deviceId":"d","tenant_id":"victim","tenant":"victim"}`, { qos: 1 });
    await until(async () => (await count(bridge.sql, 'messages')) === 1);
    expect(await rejections(bridge.sql, 't')).toEqual([
      { reason: 'device_mismatch', count: 1 },
      { reason: 'tenant_mismatch', count: 3 },
    ]);
    for (const table of ['messages', 'rejected_messages', 'devices', 'batches']) {
      const { rowCount } = await bridge.sql.query(`SELECT FROM ${table} WHERE tenant_id = 'victim'`);
      expect(rowCount).toBe(0);
    }
  });

  const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
  it(`at random is stored or quarantined byte for byte (SEED=${seed})`, async () => {
    const text = fc.oneof(
      fc.json(),
      fc.string({ unit: 'binary' }),
      fc.json().map((json) => json.replace(/[":]/, '\\')),
      fc.double().map(String),
    );
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array)),
      text.map((string) => Buffer.from(string)),
    );
    const payloads = fc.sample(bytes, { seed, numRuns: 1_000 });
    await Promise.all(payloads.map((payload, i) => device.publishAsync(`veep/r/s/p${i}/data`, payload, { qos: 1 })));
    await until(async () => (await count(bridge.sql, 'messages')) + (await count(bridge.sql, 'rejected_messages')) >= payloads.length);
    const { rows } = await bridge.sql.query<{ topic: string; payload: Buffer; stored: boolean }>(
      'SELECT topic, payload, true AS stored FROM messages UNION ALL SELECT topic, payload, false FROM rejected_messages',
    );
    const byTopic = new Map(rows.map((row) => [row.topic, row]));
    expect([rows.length, byTopic.size]).toEqual([payloads.length, payloads.length]);
    for (const [i, payload] of payloads.entries()) {
      const row = byTopic.get(`veep/r/s/p${i}/data`)!;
      expect({ i, payload: row.payload.toString('hex'), stored: row.stored }).toEqual({
        i,
        payload: payload.toString('hex'),
        stored: isJson(payload),
      });
    }
  });

  it('that is a flood of new devices is held to the allowance, and the devices already known are not', async () => {
    await bridge.sql.query(
      `INSERT INTO devices (tenant_id, device_id, site_id) SELECT 't', 'known' || i, 's' FROM generate_series(1, 20) i`,
    );
    const devices = Array.from({ length: 220 }, (_, i) => (i % 11 === 0 ? `known${i / 11 + 1}` : `new${i}`));
    await Promise.all(devices.map((name) => device.publishAsync(`veep/t/s/${name}/data`, '1', { qos: 1 })));
    await until(async () => (await count(bridge.sql, 'messages')) + (await count(bridge.sql, 'rejected_messages')) === devices.length);
    const { rows } = await bridge.sql.query<{ known: boolean; count: number }>(
      `SELECT device_id LIKE 'known%' AS known, count(*)::int FROM messages GROUP BY 1 ORDER BY 1`,
    );
    expect(rows).toEqual([
      { known: false, count: 50 },
      { known: true, count: 20 },
    ]);
    expect(await rejections(bridge.sql, 't')).toEqual([{ reason: 'device_limit', count: 150 }]);
    // The same devices once more: who is known stays known.
    await Promise.all(devices.map((name) => device.publishAsync(`veep/t/s/${name}/data`, '2', { qos: 1 })));
    await until(async () => (await count(bridge.sql, 'messages')) + (await count(bridge.sql, 'rejected_messages')) === 2 * devices.length);
    expect(await count(bridge.sql, 'messages')).toBeGreaterThanOrEqual(140);
  });
});

describe('control characters in topics', () => {
  it('are kept as well where the broker lets them through', async () => {
    const broker = await startAedes({ port: 0 });
    onCleanUp(() => broker.stop());
    const { sql, app } = await startBridge(broker.url);
    const device = await connectAsync(broker.url, { protocolVersion: 4, reconnectPeriod: 0 });
    await expectKept(sql, device, CONTROLS);
    await device.endAsync();
    expect(await app.stop()).toBe(0);
  });
});

function isJson(payload: Buffer): boolean {
  try {
    JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(payload));
    return true;
  } catch {
    return false;
  }
}
