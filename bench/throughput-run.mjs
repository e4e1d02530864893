// One run of one contestant: N messages that wait in the broker, from the first receipt to the last commit.
import { dropSession, makeSession, publishBacklog } from './broker-sessions.mjs';
import { ConsumerProcess } from './consumer-process.mjs';
import { sessionsOf } from './contestants.mjs';
import { CpuSampler, processCpuSeconds, serverCpuSeconds } from './cpu-and-memory.mjs';
import { messageAt } from './payloads.mjs';
import { freshDatabase } from './servers.mjs';
import { lostAndDoubled, messagesBytes, timesAndSizes, untilStored, walBytes } from './stored-rows.mjs';

const PATIENCE_MS = 15_000;
const COPY_LIMIT_MS = 300_000;
/** A contestant slower than this is not waited for. */
const SLOWEST_PER_S = 100;
const START_LIMIT_MS = 60_000;

/**
 * Rate (messages/s), bytes and WAL bytes per row, CPU in µs per message by process group, peak RSS in bytes. Throws when a message
 * is missing, doubled, changed or rejected: then there is no rate.
 */
export async function throughputRun(servers, contestant, { messages, devices }) {
  const database = await freshDatabase(servers, contestant.jsonIndex);
  try {
    for (const statement of contestant.schemaChanges ?? []) await database.sql.query(statement);
    const emptyBytes = await messagesBytes(database.sql);
    const run = { servers, contestant, database, messages, devices };
    const { startedAtMs, wal, sampler } = contestant.processes === 0 ? await copyRun(run) : await backlogRun(run);
    const stored = await timesAndSizes(database.sql);
    const rows = await lostAndDoubled(database.sql, messages, devices);
    assertComplete(stored, rows, messages);
    const fromMs = startedAtMs ?? stored.firstReceivedMs;
    const cpu = sampler.between(fromMs, stored.lastCommitMs);
    return {
      rate: messages / ((stored.lastCommitMs - fromMs) / 1000),
      bytesPerRow: (stored.bytes - emptyBytes) / messages,
      walBytesPerRow: wal / messages,
      cpuMicros: cpu && Object.fromEntries(Object.entries(cpu).map(([group, seconds]) => [group, (seconds * 1e6) / messages])),
      peakRssBytes: sampler.peakBytes,
      ...rows,
      ...(contestant.processes > 1 && { rowsByReceiver: await rowsByReceiver(database.sql) }),
    };
  } finally {
    await database.drop();
  }
}

async function backlogRun({ servers, contestant, database, messages, devices }) {
  await makeBacklog(servers, contestant, { messages, devices });
  const mqttUrl = servers.broker.url;
  const before = await walBytes(database.sql);
  const consumers = [];
  let sampler;
  try {
    for (const { clientId } of sessionsOf(contestant)) {
      const { script, env } = await contestant.start({ mqttUrl, databaseUrl: database.url, clientId });
      consumers.push(new ConsumerProcess(script, env));
    }
    sampler = samplerOf(servers, database, consumers);
    const check = () => consumers.forEach((consumer) => consumer.assertRunning());
    const limitMs = START_LIMIT_MS + (messages / SLOWEST_PER_S) * 1000;
    await untilStored(database.sql, { expected: messages, patienceMs: PATIENCE_MS, limitMs, check });
    return { wal: (await walBytes(database.sql)) - before, sampler };
  } finally {
    sampler?.stop();
    await Promise.all(consumers.map((consumer) => consumer.stop()));
    for (const session of sessionsOf(contestant)) await dropSession(mqttUrl, session);
  }
}

/** COPY alone into `database`: when it began (Unix ms), what it wrote to the WAL (bytes), and its CPU samples. */
export async function copyRun({ servers, database, messages, devices }) {
  const env = { DATABASE_URL: database.url, MESSAGES: String(messages), DEVICES: String(devices) };
  const consumer = new ConsumerProcess('bench/copy-alone.mjs', env);
  let sampler;
  try {
    await consumer.message(COPY_LIMIT_MS);
    const before = await walBytes(database.sql);
    sampler = samplerOf(servers, database, [consumer]);
    consumer.send('go');
    const { startedAtMs } = await consumer.message(COPY_LIMIT_MS);
    return { startedAtMs, wal: (await walBytes(database.sql)) - before, sampler };
  } finally {
    sampler?.stop();
    await consumer.kill();
  }
}

/** Makes the contestant's sessions and publishes the messages into them. */
export async function makeBacklog({ broker }, contestant, { messages, devices }) {
  for (const session of sessionsOf(contestant)) await makeSession(broker.url, session);
  await publishBacklog(broker.url, messages, (index) => messageAt(index, { devices, tenants: contestant.tenants }));
}

export function samplerOf({ postgres, broker }, { sqlPid }, consumers) {
  const pids = consumers.map((consumer) => consumer.pid);
  const groups = {
    consumer: () => processCpuSeconds(pids),
    postgres: () => serverCpuSeconds(postgres.pid, new Set([sqlPid])),
    broker: () => processCpuSeconds([broker.pid]),
  };
  return new CpuSampler(groups, pids);
}

function assertComplete({ rejected }, { lost, doubled, wrong }, messages) {
  if (rejected > 0) throw new Error(`${rejected} of ${messages} messages were rejected`);
  if (lost + doubled + wrong > 0) throw new Error(`of ${messages} messages ${lost} are missing, ${doubled} rows too many, ${wrong} wrong`);
}

async function rowsByReceiver(sql) {
  const { rows } = await sql.query('SELECT receiver, sum(message_count)::int AS rows FROM batches GROUP BY receiver ORDER BY receiver');
  return Object.fromEntries(rows.map(({ receiver, rows: count }) => [receiver, count]));
}
