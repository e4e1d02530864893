// From receipt to commit, while messages come at a steady rate.
import { setTimeout as sleep } from 'node:timers/promises';
import { performance } from 'node:perf_hooks';
import { dropSession, makeSession, Publisher } from './broker-sessions.mjs';
import { ConsumerProcess } from './consumer-process.mjs';
import { sessionsOf } from './contestants.mjs';
import { memoryOf } from './cpu-and-memory.mjs';
import { messageAt } from './payloads.mjs';
import { freshDatabase } from './servers.mjs';
import { countRows, untilStored } from './stored-rows.mjs';

const RATES_PER_S = [100, 1_000, 5_000, 10_000];
/** Not reported: the process compiles its code, and the devices are stored for the first time. */
const WARM_UP = { ratePerS: 1_000, seconds: 3 };
const TICK_MS = 5;
const MOST_IN_FLIGHT = 5_000;
const PATIENCE_MS = 15_000;
const LIMIT_MS = 120_000;

/** A row for each rate: ms from receipt to commit (p50, p99, max), the rate that was reached, and memory of the bridge. */
export async function liveRun(servers, contestant, { devices, seconds }) {
  const database = await freshDatabase(servers, contestant.jsonIndex);
  const mqttUrl = servers.broker.url;
  const [session] = sessionsOf(contestant);
  await makeSession(mqttUrl, session);
  const { script, env } = await contestant.start({ mqttUrl, databaseUrl: database.url, clientId: session.clientId });
  const consumer = new ConsumerProcess(script, env);
  const publisher = await Publisher.connect(mqttUrl);
  const run = { publisher, consumer, sql: database.sql, fleet: { devices, tenants: contestant.tenants } };
  try {
    let next = (await phase(run, 0, WARM_UP)).next;
    const phases = [];
    for (const ratePerS of RATES_PER_S) {
      const result = await phase(run, next, { ratePerS, seconds });
      next = result.next;
      phases.push(result.row);
    }
    return phases;
  } finally {
    await publisher.close();
    await consumer.stop();
    await dropSession(mqttUrl, session);
    await database.drop();
  }
}

/** Publishes messages from number `first` on, waits until they are stored, and looks at them. */
async function phase({ publisher, consumer, sql, fleet }, first, { ratePerS, seconds }) {
  const before = await countRows(sql);
  const startedAt = performance.now();
  const total = ratePerS * seconds;
  for (let sent = 0; sent < total; await sleep(TICK_MS)) {
    const due = Math.min(total, Math.ceil(((performance.now() - startedAt) / 1000) * ratePerS));
    if (publisher.inFlight >= MOST_IN_FLIGHT) await publisher.untilBelow(MOST_IN_FLIGHT);
    for (; sent < due; sent++) publisher.publish(messageAt(first + sent, fleet));
  }
  await publisher.untilBelow(1);
  const publishedPerS = total / ((performance.now() - startedAt) / 1000);
  const memory = memoryOf(consumer.pid);
  const check = () => consumer.assertRunning();
  const stored = await untilStored(sql, { expected: before + total, patienceMs: PATIENCE_MS, limitMs: LIMIT_MS, check });
  if (stored !== before + total) throw new Error(`at ${ratePerS}/s: ${stored - before} rows of ${total} messages`);
  const latency = await latencyOf(sql, first, first + total);
  return { next: first + total, row: { ratePerS, publishedPerS, ...latency, rssBytes: memory?.now, peakRssBytes: memory?.peak } };
}

/** received_at is cut to whole ms, so this is up to 1 ms too long. */
async function latencyOf(sql, first, past) {
  const { rows } = await sql.query(
    `WITH latency AS (
       SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - received_at)::float8 * 1000 AS ms FROM messages
       WHERE (raw_data->>'seq')::int >= $1 AND (raw_data->>'seq')::int < $2
     )
     SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY ms) AS p50, percentile_disc(0.99) WITHIN GROUP (ORDER BY ms) AS p99,
            max(ms) AS max FROM latency`,
    [first, past],
  );
  return { p50Ms: rows[0].p50, p99Ms: rows[0].p99, maxMs: rows[0].max };
}
