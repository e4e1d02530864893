import { setTimeout as sleep } from 'node:timers/promises';
import { createTestDatabase, type RunningApp, startTestBroker, until } from '@tallystick/testing';
import { metric, residentMb, startBridge, unaccounted, untilStored } from './bridge-under-test.js';
import { form, randomBetween, report, seed } from './fault-run.js';
import { type LedgerEntry, PublisherLedger } from './publisher-ledger.js';
import { audit, countRows, query, WHOLE } from './record-oracle.js';

const RSS_LIMIT_MB = 250;
const TIMEOUT_MS = form(300_000, 1_800_000);

/** That many rejections whose replay is requested, of 500 devices: what was published, as a ledger has it. */
async function requestReplays(databaseUrl: string, rows: number, padding = 0): Promise<LedgerEntry[]> {
  return query<LedgerEntry>(
    databaseUrl,
    `INSERT INTO rejected_messages (rejection_id, received_at, tenant_id, topic, payload, payload_size, payload_hash, reason, receiver, qos,
                                    packet_id, status)
     SELECT gen_random_uuid(), now() - interval '1 day' + n * interval '1 ms', 'replayed', topic, payload, octet_length(payload),
            encode(sha256(payload), 'hex'), 'not_object', 'gone', 1, 7, 'replay_requested'
     FROM generate_series(1, $1::int) n
     CROSS JOIN LATERAL (SELECT 'veep/replayed/s/d' || n % 500 || '/data' AS topic,
                                convert_to('[' || n || ', "' || repeat('x', $2::int) || '"]', 'UTF8') AS payload) made
     RETURNING topic, convert_from(payload, 'UTF8') AS payload`,
    [rows, padding],
  );
}

const waiting = async (databaseUrl: string) =>
  (await query<{ n: number }>(databaseUrl, `SELECT count(*)::int AS n FROM rejected_messages WHERE status = 'replay_requested'`))[0]!.n;

/** Rejections by what the rows of both tables say of them: `linked` are those that name the one message of their topic and payload. */
async function outcomes(databaseUrl: string): Promise<Record<string, number>> {
  const [found] = await query<Record<string, number>>(
    databaseUrl,
    `SELECT count(*)::int AS rejections, count(*) FILTER (WHERE r.status = 'replayed')::int AS replayed,
       count(*) FILTER (WHERE m.topic = r.topic AND m.payload = r.payload AND m.packet_id IS NULL)::int AS linked,
       count(DISTINCT r.replayed_as)::int AS messages
     FROM rejected_messages r LEFT JOIN messages m ON m.message_id = r.replayed_as`,
  );
  return found!;
}

describe(`many replays (FAULT_SEED=${seed})`, () => {
  const [replays, kills] = form([60_000, 5], [300_000, 30]);
  it(
    `${replays} by two bridges, of which one is killed ${kills} times, under 200 msg/s: each once, and nothing else lost or doubled`,
    async () => {
      const [broker, database] = await Promise.all([startTestBroker(), createTestDatabase()]);
      // Both replay; only the first receives what is published.
      const elsewhere = await startTestBroker();
      const other = await startBridge(database.url, elsewhere.url, { MQTT_CLIENT_ID: 'other' });
      const start = () => startBridge(database.url, broker.url);
      let bridge = await start();
      const ledger = await PublisherLedger.connect(broker.url);
      const load = ledger.load({ ratePerS: 200 });
      const expected = await requestReplays(database.url, replays);
      const waitedAtKill: number[] = [];
      for (let kill = 0; kill < kills; kill++) {
        await sleep(randomBetween(100, 1_500));
        waitedAtKill.push(await waiting(database.url));
        await bridge.kill();
        bridge = await start();
      }
      await until(async () => (await waiting(database.url)) === 0, { timeoutMs: 120_000, intervalMs: 200 });
      await load.stop();
      await untilStored(bridge, database.url, ledger.acknowledged.length + replays);
      for (const app of [bridge, other]) expect(await unaccounted(app)).toBe(0);
      const byOther = await metric(other, 'quarantine_replays_total{result="stored"}');
      for (const app of [bridge, other]) expect(await app.stop()).toBe(0);

      const found = await audit(database.url, [...ledger.acknowledged, ...expected]);
      report(`${replays} replays over ${kills} kills -9, two bridges, 200 msg/s`, {
        ...found,
        byOther,
        stillWaitedAtLastKill: waitedAtKill.at(-1)!,
      });
      expect(found).toMatchObject({ ...WHOLE, pending: 0, stored: ledger.acknowledged.length + replays });
      expect(await outcomes(database.url)).toEqual({ rejections: replays, replayed: replays, linked: replays, messages: replays });
      expect(waitedAtKill[0]).toBeGreaterThan(0);
      await ledger.end();
    },
    TIMEOUT_MS,
  );

  it(
    '100,000 of them hold no more memory than a portion takes, and messages that come meanwhile are stored as soon',
    async () => {
      const [broker, database] = await Promise.all([startTestBroker(), createTestDatabase()]);
      const bridge = await startBridge(database.url, broker.url);
      const ledger = await PublisherLedger.connect(broker.url);
      const warmUp = ledger.load({ ratePerS: 200, total: 1_000 });
      await warmUp.done;
      await untilStored(bridge, database.url, 1_000);
      const beforeMb = residentMb(bridge.pid);
      await requestReplays(database.url, 100_000, 1_000);
      const startedAtMs = performance.now();
      const load = ledger.load({ ratePerS: 200 });
      const mostMb = await whileWaiting(bridge, database.url);
      const seconds = (performance.now() - startedAtMs) / 1_000;
      await load.stop();
      await untilStored(bridge, database.url, ledger.acknowledged.length + 100_000);
      expect(await unaccounted(bridge)).toBe(0);
      // By the rows: from when the broker had delivered it to when its transaction began.
      const [live] = await query<{ p50: number; p99: number; most: number }>(
        database.url,
        `SELECT round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)) AS p50, round(percentile_cont(0.99) WITHIN GROUP (ORDER BY ms)) AS p99,
           round(max(ms)) AS most
         FROM (SELECT extract(epoch FROM processed_at - received_at) * 1000 AS ms FROM messages WHERE tenant_id <> 'replayed') m`,
      );
      const figures = { replaysPerS: Math.round(100_000 / seconds), beforeMb: Math.round(beforeMb), mostMb: Math.round(mostMb) };
      report('100,000 replays under 200 msg/s', {
        ...figures,
        liveP50Ms: Number(live!.p50),
        liveP99Ms: Number(live!.p99),
        liveMostMs: Number(live!.most),
      });
      process.stdout.write(`${JSON.stringify({ ...figures, live })}\n`);
      expect(mostMb).toBeLessThan(RSS_LIMIT_MB);
      expect(Number(live!.p99)).toBeLessThan(2_000);
      expect(await countRows(database.url, 'rejected_messages')).toBe(100_000);
      expect(await bridge.stop()).toBe(0);
      await ledger.end();
    },
    TIMEOUT_MS,
  );
});

/** Resolves when nothing waits any more, with the most resident memory seen until then. */
async function whileWaiting(bridge: RunningApp, databaseUrl: string): Promise<number> {
  let mostMb = 0;
  const seen = async () => {
    mostMb = Math.max(mostMb, residentMb(bridge.pid));
    return (await waiting(databaseUrl)) === 0;
  };
  await until(seen, { timeoutMs: 240_000, intervalMs: 200 });
  return mostMb;
}
