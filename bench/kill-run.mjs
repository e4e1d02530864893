// What a kill -9 in mid-run costs: the consumer is killed while it stores, started again, and the rows are counted.
import { setTimeout as sleep } from 'node:timers/promises';
import { dropSession } from './broker-sessions.mjs';
import { ConsumerProcess } from './consumer-process.mjs';
import { sessionsOf } from './contestants.mjs';
import { freshDatabase } from './servers.mjs';
import { countRows, lostAndDoubled, untilStored } from './stored-rows.mjs';
import { makeBacklog } from './throughput-run.mjs';

/** Enough that a consumer is in the midst of it when it is killed. */
const MOST_MESSAGES = 20_000;
const KILL_LIMIT_MS = 60_000;
const PATIENCE_MS = 15_000;
const LIMIT_MS = 300_000;

/** Messages lost and rows doubled after one kill, and how many were stored when it came. */
export async function killRun(servers, contestant, { messages, devices }) {
  const count = Math.min(messages, MOST_MESSAGES);
  const database = await freshDatabase(servers, contestant.jsonIndex);
  const [session] = sessionsOf(contestant);
  const mqttUrl = servers.broker.url;
  let consumer;
  try {
    await makeBacklog(servers, contestant, { messages: count, devices });
    const { script, env } = await contestant.start({ mqttUrl, databaseUrl: database.url, clientId: session.clientId });
    consumer = new ConsumerProcess(script, env);
    const storedAtKill = await killInMidRun(consumer, database.sql, count);
    consumer = new ConsumerProcess(script, env);
    const check = () => consumer.assertRunning();
    await untilStored(database.sql, { expected: count, patienceMs: PATIENCE_MS, limitMs: LIMIT_MS, check });
    // A redelivery may still be under way when all messages are there once.
    await sleep(1_000);
    await consumer.stop();
    return { messages: count, storedAtKill, ...(await lostAndDoubled(database.sql, count, devices)) };
  } finally {
    await consumer?.kill();
    await dropSession(mqttUrl, session);
    await database.drop();
  }
}

async function killInMidRun(consumer, sql, count) {
  for (const giveUpAt = Date.now() + KILL_LIMIT_MS; Date.now() < giveUpAt; await sleep(5)) {
    consumer.assertRunning();
    if ((await countRows(sql)) < count / 10) continue;
    await consumer.kill();
    const stored = await countRows(sql);
    if (stored === count) throw new Error('it had stored everything before it was killed: take more --messages');
    return stored;
  }
  throw new Error(`a tenth of the messages was not stored within ${KILL_LIMIT_MS / 1000} s`);
}
