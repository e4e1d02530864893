import { type RunningApp, startApp, startTestBroker, type TestBroker, until } from '@tallystick/testing';
import type { MqttClient } from 'mqtt';
import { type Bridge, count, publisher, startBridge } from './bridge.js';

const TOPIC = 'veep/t/s/d/data';
const BOUND = 4 * 1024 * 1024;
const MARGIN = BOUND / 16;
const NOT_JSON = Buffer.alloc(3_000, 'x');
/** What one of these counts for. */
const EACH = NOT_JSON.length + TOPIC.length + 400;

/** Payload and topic bytes in quarantine, and 400 for each row; not by the product's own account. */
async function quarantineBytes({ sql }: Bridge): Promise<number> {
  const { rows } = await sql.query<{ bytes: string }>(
    'SELECT coalesce(sum(octet_length(payload) + octet_length(topic) + 400), 0) AS bytes FROM rejected_messages',
  );
  return Number(rows[0]!.bytes);
}

async function removed({ sql }: Bridge): Promise<{ age: number; size: number; largest: number }> {
  const { rows } = await sql.query<{ age: number; size: number; largest: number }>(
    `SELECT coalesce(sum(removed_rows) FILTER (WHERE reason = 'age'), 0)::int AS age,
            coalesce(sum(removed_rows) FILTER (WHERE reason = 'size'), 0)::int AS size,
            coalesce(max(removed_bytes), 0)::int AS largest FROM quarantine_trims`,
  );
  return rows[0]!;
}

async function metric(app: RunningApp, series: string): Promise<number> {
  const lines = (await (await fetch(`${app.url}/metrics`)).text()).split('\n');
  return Number(lines.find((line) => line.startsWith(`${series} `))!.slice(series.length + 1));
}

/** Publishes that many messages which are not JSON, ten at a time, and after each ten of them a good one: 0, 1, 2 … */
async function flood(device: MqttClient, messages: number): Promise<void> {
  for (let i = 0; i < messages / 10; i++) {
    await Promise.all([
      ...Array.from({ length: 10 }, () => device.publishAsync(TOPIC, NOT_JSON, { qos: 1 })),
      device.publishAsync('veep/t/s/good/data', `${i}`, { qos: 1 }),
    ]);
  }
}

describe('the quarantine', () => {
  let broker: TestBroker;
  let device: MqttClient;
  let bridge: Bridge;
  beforeEach(async () => {
    broker = await startTestBroker();
    device = await publisher(broker.url);
    bridge = await startBridge(broker.url, {
      QUARANTINE_MAX_BYTES: `${BOUND}`,
      QUARANTINE_MAX_AGE_DAYS: '30',
      MAX_UNACKNOWLEDGED: '50',
    });
  });
  afterEach(async () => {
    await device.endAsync();
    expect(await bridge.app.stop()).toBe(0);
  });

  const rejected = () => metric(bridge.app, 'mqtt_messages_processed_total{result="rejected"}');

  it('stays within its bound in a flood, says what it removed, and leaves good messages alone', async () => {
    const BAD = 6_000;
    let over = false;
    let most = 0;
    const watching = (async () => {
      while (!over) most = Math.max(most, await quarantineBytes(bridge));
    })();
    await flood(device, BAD);
    await until(async () => (await rejected()) === BAD && (await count(bridge.sql, 'messages')) === BAD / 10, { timeoutMs: 30_000 });
    over = true;
    await watching;
    await until(async () => (await quarantineBytes(bridge)) <= BOUND + MARGIN);

    const recorded = await removed(bridge);
    process.stdout.write(
      `${((BAD * EACH) / 2 ** 20).toFixed(1)} MiB rejected, bound 4 MiB, margin 0.25 MiB, at most ${(most / 2 ** 20).toFixed(2)} MiB seen; ` +
        `${recorded.size} removed, at most ${(recorded.largest / 2 ** 20).toFixed(2)} MiB at once\n`,
    );
    // Above bound and margin there is what was committed while one trim ran.
    expect(most).toBeLessThan(BOUND + MARGIN + 2 ** 20);
    expect(recorded.age).toBe(0);
    expect(recorded.size + (await count(bridge.sql, 'rejected_messages'))).toBe(BAD);
    expect(await metric(bridge.app, 'quarantine_removed_total{reason="size"}')).toBe(recorded.size);
    expect(await metric(bridge.app, 'quarantine_removed_total{reason="age"}')).toBe(0);
    const logged = bridge.app.logs.filter((line) => line.message === 'the oldest rejections were removed from quarantine');
    expect(logged.reduce((sum, line) => sum + Number(line['removed']), 0)).toBe(recorded.size);
    expect(new Set(logged.map((line) => line['reason']))).toEqual(new Set(['size']));
    // What is left is the newest, and the good messages are all there.
    const { rows } = await bridge.sql.query(
      `SELECT (SELECT min(received_at) FROM rejected_messages) >= (SELECT max(newest_received_at) FROM quarantine_trims) AS newest,
              (SELECT array_agg(raw_data::int ORDER BY raw_data::int) FROM messages) AS good`,
    );
    expect(rows).toEqual([{ newest: true, good: Array.from({ length: BAD / 10 }, (_, i) => i) }]);
  });

  it('is trimmed at start of what is too old', async () => {
    await flood(device, 10);
    await until(async () => (await count(bridge.sql, 'rejected_messages')) === 10);
    expect(await bridge.app.stop()).toBe(0);
    await bridge.sql.query(
      `UPDATE rejected_messages SET received_at = received_at - interval '31 days' WHERE rejection_id IN (SELECT rejection_id FROM rejected_messages LIMIT 2)`,
    );
    bridge.app = await startApp('ingest-bridge', bridge.env);
    await bridge.app.waitForReady();
    await until(async () => (await metric(bridge.app, 'quarantine_removed_total{reason="age"}')) === 2);
    expect(await removed(bridge)).toMatchObject({ age: 2, size: 0 });
    expect(await count(bridge.sql, 'rejected_messages')).toBe(8);
  });

  it('that cannot be trimmed delays no commit, and is trimmed once it can', async () => {
    await bridge.sql.query('ALTER FUNCTION trim_quarantine RENAME TO trim_quarantine_away');
    const BAD = 2_000;
    await flood(device, BAD);
    await until(async () => (await count(bridge.sql, 'rejected_messages')) === BAD);
    expect(await quarantineBytes(bridge)).toBeGreaterThan(BOUND + MARGIN);
    const failures = bridge.app.logs.filter((line) => String(line.message).startsWith('the quarantine could not be trimmed now'));
    expect(failures.length).toBeGreaterThan(0);
    expect(failures.length).toBeLessThan(10);
    await bridge.sql.query('ALTER FUNCTION trim_quarantine_away RENAME TO trim_quarantine');
    await until(async () => (await quarantineBytes(bridge)) <= BOUND, { timeoutMs: 20_000 });
    expect((await removed(bridge)).size + (await count(bridge.sql, 'rejected_messages'))).toBe(BAD);
  });

  it('is left to another bridge that is trimming, and looked after again soon', async () => {
    const lock = `hashtextextended('tallystick.trim_quarantine', 0)`;
    await bridge.sql.query(`SELECT pg_advisory_lock(${lock})`);
    const BAD = 2_000;
    await flood(device, BAD);
    await until(async () => (await count(bridge.sql, 'rejected_messages')) === BAD);
    expect(await removed(bridge)).toMatchObject({ size: 0 });
    await bridge.sql.query(`SELECT pg_advisory_unlock(${lock})`);
    await until(async () => (await quarantineBytes(bridge)) <= BOUND, { timeoutMs: 20_000 });
    expect(bridge.app.logs.some((line) => String(line.message).startsWith('the quarantine could not be trimmed'))).toBe(false);
  });
});
