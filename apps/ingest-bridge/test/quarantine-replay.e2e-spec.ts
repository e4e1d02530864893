import { hash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { uuidv7 } from '@tallystick/persistence';
import { type RunningApp, startApp, startTestBroker, type TestBroker, until } from '@tallystick/testing';
import type { MqttClient } from 'mqtt';
import { type Bridge, count, metric, publisher, sha256, startBridge } from './bridge.js';

interface RejectionRow {
  status: string;
  reason: string;
  detail: string | null;
  tenant_id: string | null;
  resolved: boolean;
  replayed_as: string | null;
}

const replays = (app: RunningApp, result: string) => metric(app, `quarantine_replays_total{result="${result}"}`);

describe('a replay', () => {
  let broker: TestBroker;
  let device: MqttClient;
  let bridge: Bridge;
  /** Every bridge of the spec that runs. */
  let apps: RunningApp[];
  beforeEach(async () => {
    broker = await startTestBroker();
    device = await publisher(broker.url);
    bridge = await startBridge(broker.url, { MAX_PAYLOAD_BYTES: '1000', PAYLOAD_FORMAT: 'object' });
    apps = [bridge.app];
  });
  afterEach(async () => {
    await device.endAsync();
    for (const app of apps) expect(await app.stop()).toBe(0);
  });

  const sql = async <Row>(text: string, values: unknown[] = []) => (await bridge.sql.query(text, values)).rows as Row[];
  const rejections = () =>
    sql<RejectionRow>(
      `SELECT status, reason, detail, tenant_id, resolved_at IS NOT NULL AS resolved, replayed_as FROM rejected_messages ORDER BY rejection_id`,
    );
  /** What the API does. */
  const request = (where = 'true') => sql(`UPDATE rejected_messages SET status = 'replay_requested' WHERE status = 'new' AND ${where}`);
  const untilNoneWaits = (timeoutMs = 30_000) =>
    until(async () => (await sql(`SELECT FROM rejected_messages WHERE status = 'replay_requested' LIMIT 1`)).length === 0, { timeoutMs });

  /** Ends the bridges and starts one for each configuration. */
  async function restart(...configurations: Record<string, string>[]): Promise<void> {
    for (const app of apps) expect(await app.stop()).toBe(0);
    apps = await Promise.all(configurations.map((env) => startApp('ingest-bridge', { ...bridge.env, ...env })));
    for (const app of apps) await app.waitForReady();
  }

  /** Rejections as a bridge leaves them, without publishing them: of device n, payload n. */
  async function insertMany(rows: number, payload = (n: number) => `${n}`): Promise<void> {
    const nowMs = Date.now() - 3_600_000;
    const of = <T>(make: (n: number) => T) => Array.from({ length: rows }, (_, n) => make(n));
    await sql(
      `INSERT INTO rejected_messages (rejection_id, received_at, tenant_id, topic, payload, payload_size, payload_hash, reason, receiver, qos, packet_id)
       SELECT id, at, 't', topic, payload, octet_length(payload), hash, 'not_object', 'gone', 1, 7
       FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::bytea[], $5::text[]) AS r (id, at, topic, payload, hash)`,
      [
        of((n) => uuidv7(nowMs + n)),
        of((n) => new Date(nowMs + n)),
        of((n) => `veep/t/s/d${n % 50}/data`),
        of((n) => Buffer.from(payload(n))),
        of((n) => hash('sha256', payload(n), 'hex')),
      ],
    );
  }

  it('stores what the corrected configuration takes, once, with two bridges at it', async () => {
    const large = JSON.stringify({ pad: 'x'.repeat(2_000) });
    await device.publishAsync('veep/t/s/d/data', large, { qos: 1 });
    await device.publishAsync('veep/t/s/d/data', '[1, 2]', { qos: 2 });
    await restart({ MQTT_TOPICS: 'veep/+/+/+/data,veep/+/+/+/raw', PAYLOAD_FORMAT: 'object', MAX_PAYLOAD_BYTES: '1000' });
    await device.publishAsync('veep/t/s/e/raw', 'no JSON', { qos: 1 });
    await until(async () => (await count(bridge.sql, 'rejected_messages')) === 3);
    await insertMany(500);
    await sql(`UPDATE rejected_messages SET tenant_id = NULL, reason = 'topic_mismatch' WHERE topic = 'veep/t/s/e/raw'`);

    const corrected = { MQTT_TOPICS: 'veep/+/+/+/data,veep/+/+/+/raw', PAYLOAD_FORMAT: 'any', MAX_PAYLOAD_BYTES: '5000' };
    await restart(corrected, { ...corrected, MQTT_CLIENT_ID: 'other', WRITER_LANES: '2' });
    const beforeMs = Date.now();
    await request();
    await untilNoneWaits();

    const found = await sql<{ topic: string; payload: Buffer; message_hash: string; qos: number; received_at: Date }>(
      `SELECT m.topic, m.payload, m.message_hash, m.qos, m.received_at FROM rejected_messages r JOIN messages m ON m.message_id = r.replayed_as
       WHERE r.status = 'replayed' AND r.resolved_at IS NOT NULL AND r.tenant_id = 't' AND m.packet_id IS NULL AND NOT m.retained
       ORDER BY r.received_at DESC LIMIT 3`,
    );
    expect(found.map(({ topic, payload, qos }) => [topic, String(payload), qos])).toEqual([
      ['veep/t/s/e/raw', 'no JSON', 1],
      ['veep/t/s/d/data', '[1, 2]', 1],
      ['veep/t/s/d/data', large, 1],
    ]);
    for (const { payload, message_hash, received_at } of found) {
      expect(message_hash).toBe(sha256(payload));
      expect(received_at.getTime()).toBeGreaterThanOrEqual(beforeMs);
    }
    expect(await count(bridge.sql, 'messages')).toBe(503);
    expect(await count(bridge.sql, 'rejected_messages')).toBe(503);
    expect(new Set((await rejections()).map((row) => `${row.status} ${row.replayed_as === null}`))).toEqual(new Set(['replayed false']));
    expect((await replays(apps[0]!, 'stored')) + (await replays(apps[1]!, 'stored'))).toBe(503);
    // No broker delivered them.
    for (const app of apps) {
      expect(await metric(app, 'mqtt_messages_processed_total{result="stored"}')).toBe(0);
      expect(await metric(app, 'ingest_in_flight_messages')).toBe(0);
    }
  });

  it('that is refused again leaves its row with the new reason, whoever asks how often', async () => {
    await device.publishAsync('veep/t/s/d/data', `["${'x'.repeat(2_000)}"]`, { qos: 1 });
    await until(async () => (await count(bridge.sql, 'rejected_messages')) === 1);
    await restart({ MAX_PAYLOAD_BYTES: '5000' });
    for (let time = 1; time <= 2; time++) {
      await request();
      await until(async () => (await replays(apps[0]!, 'refused')) === time);
      expect(await rejections()).toEqual([
        {
          ...{ status: 'new', reason: 'not_object', detail: 'the payload is JSON, but no object' },
          ...{ tenant_id: 't', resolved: false, replayed_as: null },
        },
      ]);
    }
    expect(await count(bridge.sql, 'messages')).toBe(0);
    expect(await metric(apps[0]!, 'mqtt_messages_processed_total{result="rejected"}')).toBe(0);
  });

  it('of what was not kept whole is refused, however it was asked for', async () => {
    await device.publishAsync('veep/t/s/d/data', Buffer.alloc(300_000, '1'), { qos: 1 });
    await until(async () => (await count(bridge.sql, 'rejected_messages')) === 1);
    await insertMany(1);
    await sql(`UPDATE rejected_messages SET topic = E'veep/t/s/\uFFFD/data', reason = 'topic_mismatch' WHERE receiver = 'gone'`);
    await restart({ MAX_PAYLOAD_BYTES: '1000000', PAYLOAD_FORMAT: 'any' });
    await request();
    await untilNoneWaits();
    expect(await rejections()).toMatchObject([
      { status: 'new', reason: 'topic_mismatch', detail: 'the topic holds a character that was not kept, so it cannot be replayed' },
      { status: 'new', reason: 'payload_too_large', detail: 'only the beginning of the payload was kept, so it cannot be replayed' },
    ]);
    expect(await count(bridge.sql, 'messages')).toBe(0);
  });

  it('of what PostgreSQL refuses keeps its row; the others of its portion are stored in order', async () => {
    await sql(`ALTER TABLE messages ADD CONSTRAINT messages_poison CHECK (position('13'::bytea IN payload) = 0);`);
    await insertMany(100);
    await restart({ PAYLOAD_FORMAT: 'json' });
    await request();
    await untilNoneWaits();
    const expected = Array.from({ length: 100 }, (_, n) => `${n}`).filter((payload) => payload !== '13');
    const stored = await sql<{ payload: Buffer }>(
      `SELECT payload FROM messages JOIN batches b USING (batch_id) ORDER BY b.created_at, leaf_index`,
    );
    expect(stored.map(({ payload }) => String(payload))).toEqual(expected);
    expect((await rejections()).filter(({ status }) => status !== 'replayed')).toMatchObject([
      { status: 'new', reason: 'database_refused', replayed_as: null },
    ]);
    expect(await count(bridge.sql, 'rejected_messages')).toBe(100);
  });

  it('and a discard: one of them wins, whenever the discard comes', async () => {
    const ROWS = 4_000;
    await insertMany(ROWS);
    await restart({ PAYLOAD_FORMAT: 'json' }, { PAYLOAD_FORMAT: 'json', MQTT_CLIENT_ID: 'other' });
    await request();
    await until(async () => (await count(bridge.sql, 'messages')) > 0, { intervalMs: 10 });
    let discarded = 0;
    for (;;) {
      const { rowCount } = await bridge.sql.query(
        `UPDATE rejected_messages SET status = 'discarded', resolved_at = now() WHERE status = 'replay_requested' AND rejection_id IN
           (SELECT rejection_id FROM rejected_messages WHERE status = 'replay_requested' ORDER BY random() LIMIT 20)`,
      );
      if (rowCount === 0) break;
      discarded += rowCount!;
      await sleep(20);
    }
    await untilNoneWaits();
    const [outcome] = await sql(
      `SELECT count(*) FILTER (WHERE status = 'discarded' AND replayed_as IS NULL)::int AS discarded,
              count(*) FILTER (WHERE status = 'replayed' AND m.message_id IS NOT NULL)::int AS replayed,
              (SELECT count(*)::int FROM messages) AS stored
       FROM rejected_messages r LEFT JOIN messages m ON m.message_id = r.replayed_as AND m.payload = r.payload AND m.topic = r.topic`,
    );
    expect(outcome).toEqual({ discarded, replayed: ROWS - discarded, stored: ROWS - discarded });
    process.stdout.write(`${ROWS} requested: ${discarded} discarded, ${ROWS - discarded} stored\n`);
    expect(discarded).toBeGreaterThan(0);
    expect(discarded).toBeLessThan(ROWS);
  });

  it('waits while the bridge is not ready', async () => {
    await restart({ PAYLOAD_FORMAT: 'json' });
    await insertMany(10);
    await broker.stop();
    await until(async () => (await fetch(`${apps[0]!.url}/readyz`)).status === 503);
    await request();
    await sleep(3_000);
    expect(await count(bridge.sql, 'messages')).toBe(0);
    await broker.restart();
    await untilNoneWaits();
    expect(await count(bridge.sql, 'messages')).toBe(10);
  });

  it('of many leaves new devices to those that send now', async () => {
    await insertMany(40);
    await restart({ PAYLOAD_FORMAT: 'json', MAX_NEW_DEVICES_PER_MINUTE: '20' });
    await request();
    await untilNoneWaits();
    for (let n = 0; n < 10; n++) await device.publishAsync(`veep/t/s/live${n}/data`, '1', { qos: 1 });
    await until(async () => (await count(bridge.sql, 'messages')) >= 20);
    expect(await sql(`SELECT reason, status, count(*)::int FROM rejected_messages WHERE status = 'new' GROUP BY 1, 2`)).toEqual([
      { reason: 'device_limit', status: 'new', count: 30 },
    ]);
    expect(await count(bridge.sql, 'rejected_messages')).toBe(40);
  });
});
