import { type RunningApp, startApp, startTestBroker, type TestBroker, until } from '@tallystick/testing';
import type { MqttClient } from 'mqtt';
import type pg from 'pg';
import { type Bridge, count, metric, publisher, startBridge } from './bridge.js';

/** Each case starts two processes of the bridge or three: on a busy machine that takes its time. */
const TIME_LIMIT_MS = 120_000;

const TOPIC = 'veep/t/s/d/data';
/** A payload that is honestly sent again and again. */
const OFF = '{"state":"off"}';
const POISON = '{nope';

/**
 * Two bridges on one database, with client ids of their own and a plain subscription each: every message is delivered to both, as a
 * broker cluster delivers one that a dead member had and did not acknowledge. For each bridge it is a first delivery.
 */
class Pair {
  private constructor(
    readonly broker: TestBroker,
    readonly bridge: Bridge,
    readonly apps: RunningApp[],
    readonly device: MqttClient,
  ) {}

  static async start(env: Record<string, string>): Promise<Pair> {
    const broker = await startTestBroker();
    const bridge = await startBridge(broker.url, { ...env, MQTT_CLIENT_ID: 'bridge-a' });
    const other = await startApp('ingest-bridge', { ...bridge.env, MQTT_CLIENT_ID: 'bridge-b' });
    await other.waitForReady();
    return new Pair(broker, bridge, [bridge.app, other], await publisher(broker.url));
  }

  get sql(): pg.Client {
    return this.bridge.sql;
  }

  async publish(payload: string, key: string | undefined, topic = TOPIC): Promise<void> {
    await this.device.publishAsync(topic, payload, { qos: 1, ...(key !== undefined && { properties: { userProperties: { id: key } } }) });
  }

  /** The sum of a metric over both bridges. */
  async sum(series: string): Promise<number> {
    const values = await Promise.all(this.apps.map((app) => metric(app, series)));
    return values.reduce((total, value) => total + value, 0);
  }

  /** Waits until each bridge has received so many and is done with all, acknowledgements included; checks the account of each. */
  async settle(received: number): Promise<void> {
    for (const app of this.apps) {
      await until(async () => (await metric(app, 'mqtt_messages_received_total')) === received, { timeoutMs: 30_000 });
      await until(async () => (await metric(app, 'ingest_in_flight_messages')) === 0, { timeoutMs: 30_000 });
      await until(async () => (await metric(app, 'mqtt_messages_unacknowledged')) === 0);
      const results = ['stored', 'rejected', 'duplicate', 'abandoned', 'dropped'];
      const processed = await Promise.all(results.map((result) => metric(app, `mqtt_messages_processed_total{result="${result}"}`)));
      expect(processed.reduce((total, value) => total + value, 0)).toBe(received);
      await until(async () => (await fetch(`${app.url}/readyz`)).ok);
    }
  }

  async stop(): Promise<void> {
    await this.device.endAsync();
    for (const app of this.apps) expect(await app.stop()).toBe(0);
  }
}

/** Rows and what is counted of them: in batches, of devices, of leaves. */
async function counted(sql: pg.Client): Promise<Record<string, number>> {
  const { rows } = await sql.query<Record<string, number>>(`
    SELECT (SELECT count(*)::int FROM messages) AS messages,
           (SELECT count(*)::int FROM rejected_messages) AS rejected,
           (SELECT coalesce(sum(message_count), 0)::int FROM batches) AS "inBatches",
           (SELECT coalesce(sum(message_count), 0)::int FROM devices) AS "ofDevices",
           (SELECT count(*)::int FROM deduplication_keys) AS keys,
           (SELECT count(*)::int FROM batches b
            WHERE message_count <> (SELECT count(*) FROM messages m WHERE m.batch_id = b.batch_id AND leaf_index < message_count)) AS "wrongBatches"`);
  return rows[0]!;
}

describe('a message that is delivered to two bridges', () => {
  it(
    'is stored once although both were about to: the later one finds the key taken, and acknowledges',
    async () => {
      const pair = await Pair.start({ DEDUP_KEY: 'id' });
      const { sql } = pair;
      // Both have asked, and found no such key, before either can commit.
      await sql.query('BEGIN; LOCK TABLE batches IN ACCESS EXCLUSIVE MODE');
      await pair.publish(OFF, 'one');
      const waiting = `SELECT wait_event FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'INSERT%' ORDER BY 1`;
      await until(async () => {
        await sql.query('SELECT pg_stat_clear_snapshot()'); // within a transaction the first answer would stay
        const { rows } = await sql.query<{ wait_event: string }>(waiting);
        return rows.map(({ wait_event }) => wait_event).join() === 'relation,transactionid';
      });
      expect(await pair.sum('mqtt_messages_unacknowledged')).toBe(2);
      await sql.query('COMMIT');
      await pair.settle(1);
      expect(await counted(sql)).toEqual({ messages: 1, rejected: 0, inBatches: 1, ofDevices: 1, keys: 1, wrongBatches: 0 });
      expect(await pair.sum('database_commit_failures_total{failure="key_taken"}')).toBe(1);
      expect(await pair.sum('mqtt_messages_processed_total{result="duplicate"}')).toBe(1);
      // Published again, on purpose, under the same key: by definition the same message.
      await pair.publish(OFF, 'one');
      await pair.settle(2);
      expect(await count(sql, 'messages')).toBe(1);
      await pair.stop();
    },
    TIME_LIMIT_MS,
  );

  it(
    'is stored once among thousands, published twice; equal payloads under different keys are all stored, and poison once',
    async () => {
      const EACH = 1_000;
      const pair = await Pair.start({ DEDUP_KEY: 'id', BATCH_SIZE: '100', WRITER_LANES: '2' });
      const topics = Array.from({ length: 4 }, (_, i) => `veep/t${i % 2}/s/d${i}/data`);
      // The same keys in every topic: they belong to their topic alone.
      const all = Array.from({ length: EACH }, (_, i) => topics.map((topic) => pair.publish(i % 100 === 7 ? POISON : OFF, `${i}`, topic)));
      await Promise.all(all.flat());
      const again = Array.from({ length: EACH / 2 }, (_, i) => pair.publish(i % 100 === 7 ? POISON : OFF, `${i}`, topics[0]));
      await Promise.all(again);
      await pair.settle(4 * EACH + EACH / 2);
      const [messages, rejected] = [4 * EACH * 0.99, 4 * EACH * 0.01];
      const expected = { messages, rejected, inBatches: messages, ofDevices: messages, keys: messages + rejected, wrongBatches: 0 };
      expect(await counted(pair.sql)).toEqual(expected);
      expect(await pair.sum('mqtt_messages_processed_total{result="stored"}')).toBe(messages);
      expect(await pair.sum('mqtt_messages_processed_total{result="rejected"}')).toBe(rejected);
      const taken = await pair.sum('database_commit_failures_total{failure="key_taken"}');
      process.stdout.write(`${messages + rejected} of ${2 * 4.5 * EACH} deliveries stored, ${taken} commits found a key taken\n`);
      await pair.stop();
      expect(await counted(pair.sql)).toEqual(expected);
    },
    TIME_LIMIT_MS,
  );

  it(
    'is stored once although one of the bridges is killed in the middle, and starts again',
    async () => {
      const EACH = 1_000;
      const pair = await Pair.start({ DEDUP_KEY: 'id', MAX_UNACKNOWLEDGED: '200' });
      const all = Promise.all(Array.from({ length: EACH }, (_, i) => pair.publish(OFF, `${i}`)));
      await until(async () => (await count(pair.sql, 'messages')) >= EACH / 3, { timeoutMs: 30_000, intervalMs: 1 });
      await pair.apps[0]!.kill();
      pair.apps[0] = await startApp('ingest-bridge', pair.bridge.env);
      await all;
      // Behind all others, and without a key: each bridge stores it, and then has had everything.
      await pair.publish('"last"', undefined);
      await until(async () => (await pair.sql.query(`SELECT FROM messages WHERE raw_data = '"last"'`)).rowCount === 2, {
        timeoutMs: 30_000,
      });
      for (const app of pair.apps) {
        await until(async () => (await metric(app, 'mqtt_messages_unacknowledged')) === 0, { timeoutMs: 30_000 });
      }
      await pair.stop();
      const messages = EACH + 2;
      expect(await counted(pair.sql)).toEqual({
        messages,
        rejected: 0,
        inBatches: messages,
        ofDevices: messages,
        keys: EACH,
        wrongBatches: 0,
      });
    },
    TIME_LIMIT_MS,
  );

  it(
    'is two messages without the key, and is counted',
    async () => {
      const pair = await Pair.start({ DEDUP_KEY: 'id' });
      await pair.publish(OFF, undefined);
      await pair.publish(OFF, '');
      await pair.settle(2);
      expect(await counted(pair.sql)).toMatchObject({ messages: 4, inBatches: 4, ofDevices: 4, keys: 0 });
      expect(await pair.sum('mqtt_messages_without_key_total')).toBe(4);
      await pair.stop();
    },
    TIME_LIMIT_MS,
  );

  it(
    'is two messages without DEDUP_KEY, whatever its properties',
    async () => {
      const pair = await Pair.start({});
      await pair.publish(OFF, 'one');
      await pair.settle(1);
      expect(await counted(pair.sql)).toMatchObject({ messages: 2, inBatches: 2, ofDevices: 2, keys: 0 });
      expect(await pair.sum('mqtt_messages_without_key_total')).toBe(0);
      await pair.stop();
    },
    TIME_LIMIT_MS,
  );
});

describe('deduplication keys', () => {
  it(
    'are forgotten by a bridge that starts, when they are old; if that fails it goes on without',
    async () => {
      const broker = await startTestBroker();
      const { app, sql, env } = await startBridge(broker.url, { DEDUP_KEY: 'id', DEDUP_KEY_HOURS: '200' });
      expect(await app.stop()).toBe(0);
      await sql.query(
        `INSERT INTO deduplication_keys
         SELECT sha256(i::text::bytea), now() - CASE WHEN i = 0 THEN interval '199 hours' ELSE interval '201 hours' END FROM generate_series(0, 12000) i`,
      );
      const keys = async () => (await sql.query<{ keys: number }>('SELECT count(*)::int AS keys FROM deduplication_keys')).rows[0]!.keys;
      await sql.query('ALTER FUNCTION forget_deduplication_keys(int, int) RENAME TO away');
      const hindered = await startApp('ingest-bridge', env);
      await hindered.waitForReady();
      await until(() => hindered.logs.some(({ message }) => /old deduplication keys could not be forgotten now/.test(String(message))));
      expect([await keys(), await hindered.stop()]).toEqual([12_001, 0]);
      await sql.query('ALTER FUNCTION away(int, int) RENAME TO forget_deduplication_keys');
      const free = await startApp('ingest-bridge', env);
      await until(async () => (await keys()) === 1);
      expect(await free.stop()).toBe(0);
    },
    TIME_LIMIT_MS,
  );
});
