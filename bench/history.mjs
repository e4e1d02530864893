// `npm run bench:history`: how long the API takes to answer what it derives from a broker's history.
import { writeFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { freePort } from '../dist/libs/embedded/src/index.js';
import { ConsumerProcess } from './consumer-process.mjs';
import { BROKER, DAYS, makeHistory } from './history-rows.mjs';
import { describeMachine } from './machine.mjs';
import { decimal, machineLines, median, table, targetTable, whole } from './report.mjs';
import { freshDatabase, startServers } from './servers.mjs';
import { below } from './targets.mjs';
import { untilReady } from './watcher-run.mjs';

const API = 'dist/apps/api/src/main.js';
const TIMES_ASKED = 21;
const WANTED_MS = 200;
const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

const { values: options } = parseArgs({
  options: {
    events: { type: 'string', default: '10000000' },
    sessions: { type: 'string', default: '1500000' },
    clients: { type: 'string', default: '10000' },
    subscriptions: { type: 'string', default: '200000' },
    json: { type: 'string' },
    dir: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  console.log(`npm run bench:history -- [options]
  --events 10000000 --sessions 1500000 --clients 10000 --subscriptions 200000  what ${DAYS} days hold; 7 GB of disk
  --json FILE    everything that was measured
  --dir FOLDER   where the data goes (default: the folder for temporary files)`);
  process.exit(0);
}
const size = Object.fromEntries(['events', 'sessions', 'clients', 'subscriptions'].map((name) => [name, Number(options[name])]));
if (Object.values(size).some((value) => !Number.isInteger(value) || value < 1_000)) {
  console.error('--events, --sessions, --clients and --subscriptions must be whole numbers of 1000 or more');
  process.exit(64);
}
const progress = (line) => console.error(`${new Date().toISOString().slice(11, 19)} ${line}`);

progress('starting PostgreSQL');
const servers = await startServers({ within: options.dir });
try {
  const machine = await describeMachine(servers);
  const database = await freshDatabase(servers, 'off');
  const history = await makeHistory(database.sql, size, progress);
  progress('asking');
  const answers = await askAll(database.url, questions(history));
  console.log(
    `${machineLines(machine)}\n${Object.entries(size)
      .map(([what, count]) => `${whole(count)} ${what}`)
      .join(', ')}; ${TIMES_ASKED} times each\n`,
  );
  const rows = answers.map(({ ask, rows: count, p50Ms, maxMs }) => [ask, whole(count), decimal(p50Ms, 1), decimal(maxMs, 1)]);
  console.log(`${table(['asked over HTTP', 'rows', 'p50 ms', 'max ms'], rows)}\n`);
  console.log(targetTable([below('ms for the slowest answer (p50)', WANTED_MS, Math.max(...answers.map(({ p50Ms }) => p50Ms)))]));
  if (options.json) writeFileSync(options.json, JSON.stringify({ machine, size, answers }, null, 2) + '\n');
  await database.drop();
} finally {
  await servers.stop();
}

/** Addresses below the broker's, each with the longest range that is taken or makes sense. */
function questions({ to, stormAt }) {
  const range = (days, end = to) => `from=${new Date(end.getTime() - days * DAY_MS).toISOString()}&to=${end.toISOString()}`;
  const minutes = (end) => range((2_000 * MINUTE_MS) / DAY_MS, end);
  const afterStorm = new Date(stormAt.getTime() + DAY_MS / 2);
  return [
    ['events by minute, 2,000 minutes', `events/counts?bucket=minute&${minutes(to)}`],
    ['events by minute, with the storm', `events/counts?bucket=minute&${minutes(afterStorm)}`],
    ['events by hour, 83 days', `events/counts?bucket=hour&${range(83)}`],
    ['events by day, 90 days', `events/counts?bucket=day&${range(90)}`],
    ['ends by reason and minute, with the storm', `events/counts?by=endReason&bucket=minute&${minutes(afterStorm)}`],
    ['ends by reason and hour, 83 days', `events/counts?by=endReason&bucket=hour&${range(83)}`],
    ['clients with most sessions, 1 day', `sessions/stats?${range(1)}`],
    ['clients with most sessions, 7 days', `sessions/stats?${range(7)}`],
    ['clients with most sessions, 31 days', `sessions/stats?${range(31)}`],
    ['clients with the longest sessions, 31 days', `sessions/stats?sort=totalDurationMs&${range(31)}`],
    ['flapping clients, 1 day', `sessions/stats?flapping=true&${range(1)}`],
    ['flapping clients, 7 days', `sessions/stats?flapping=true&${range(7)}`],
    ['one client, 90 days', `sessions/stats?client=client-4711&${range(90)}`],
    ['one flapping client, 90 days', `sessions/stats?client=client-7&${range(90)}`],
    ['days of one flapping client, 90 days', `sessions/stats?by=day&client=client-7&limit=100&${range(90)}`],
    ['days of all clients, a page of 90 days', `sessions/stats?by=day&${range(90)}`],
    ['days of all clients, the page with the storm', `sessions/stats?by=day&${range(30, afterStorm)}`],
    ['most popular topic filters', 'subscriptions/popularity'],
    ['clients that are seen only now', 'clients?seenOnlyNow=true'],
    ['sessions of a rare end, by who ended them', 'sessions?endedBy=unknown'],
  ];
}

/** ms of each answer through a built API: median and most. */
async function askAll(databaseUrl, asked) {
  const port = String(await freePort());
  const api = new ConsumerProcess(API, {
    NODE_ENV: 'production',
    HOST: '127.0.0.1',
    PORT: port,
    LOG_LEVEL: 'warn',
    DATABASE_URL: databaseUrl,
  });
  try {
    await untilReady(`http://127.0.0.1:${port}`, api);
    const answers = [];
    for (const [ask, rest] of asked) {
      const url = `http://127.0.0.1:${port}/api/v1/brokers/${BROKER}/${rest}`;
      let { rows } = await answer(url); // not counted: it reads from the disk what the others find in memory
      const times = [];
      while (times.length < TIMES_ASKED) {
        const startedAt = performance.now();
        ({ rows } = await answer(url));
        times.push(performance.now() - startedAt);
      }
      answers.push({ ask, rest, rows, p50Ms: median(times), maxMs: Math.max(...times) });
    }
    return answers;
  } finally {
    await api.stop();
  }
}

async function answer(url) {
  const response = await fetch(url);
  const body = await response.json();
  if (!response.ok) throw new Error(`${url}: ${response.status} ${body.detail}`);
  return { rows: (body.items ?? body.points).length };
}
