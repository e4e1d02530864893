// `npm run bench:api`: how fast the API answers many at once, and what an export of everything costs it.
import { writeFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { exportRun } from './api-export.mjs';
import { loadRun } from './api-load.mjs';
import { makeAccess, startApi } from './api-process.mjs';
import { questions } from './api-questions.mjs';
import { makeRows, TENANT_ID } from './api-rows.mjs';
import { describeMachine } from './machine.mjs';
import { decimal, machineLines, megabytes, table, targetTable, whole } from './report.mjs';
import { freshDatabase, startServers } from './servers.mjs';
import { below } from './targets.mjs';

const WANTED_P99_MS = 100;
const WANTED_GROWTH_MB = 50;
const MB = 1e6;
/** A quarter of the memory, as docs/operations.md says. */
const SHARED_BUFFERS_MB = Math.floor(totalmem() / 4 / 2 ** 20);
const HOUR_MS = 3_600_000;
const SLOW_READER = { bytesPerS: 5e6, slowS: 15 };
const WARM_UP_S = 3;
const EXPORTS = [
  { id: 'export-ndjson', format: 'ndjson' },
  { id: 'export-csv', format: 'csv' },
  { id: 'export-slow', format: 'ndjson', ...SLOW_READER },
];
const USAGE = `npm run bench:api -- [options]
  --messages 1000000 --events 1000000 --clients 10000  what is asked about; 3 GB of disk
  --connections 50   requests at once
  --seconds 3        how long each question is asked
  --only LIST        questions and exports by id, with commas: messages,device,export-csv
  --json FILE        everything that was measured
  --dir FOLDER       where the data goes (default: the folder for temporary files)`;

const { values: options } = parseArgs({
  options: {
    messages: { type: 'string', default: '1000000' },
    events: { type: 'string', default: '1000000' },
    clients: { type: 'string', default: '10000' },
    connections: { type: 'string', default: '50' },
    seconds: { type: 'string', default: '3' },
    only: { type: 'string' },
    json: { type: 'string' },
    dir: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  console.log(USAGE);
  process.exit(0);
}
const size = Object.fromEntries(['messages', 'events', 'clients'].map((name) => [name, Number(options[name])]));
const load = { connections: Number(options.connections), seconds: Number(options.seconds) };
if (
  Object.values(size).some((value) => !Number.isInteger(value) || value < 10_000) ||
  Object.values(load).some((value) => !Number.isInteger(value) || value < 1)
) {
  console.error(`rows are whole numbers of 10000 or more, connections and seconds of 1 or more\n\n${USAGE}`);
  process.exit(64);
}
const only = options.only?.split(',');
const selected = (all) => all.filter(({ id }) => only === undefined || only.includes(id));
const progress = (line) => console.error(`${new Date().toISOString().slice(11, 19)} ${line}`);

progress('starting PostgreSQL');
const servers = await startServers({ within: options.dir, settings: { shared_buffers: `${SHARED_BUFFERS_MB}MB` } });
try {
  const machine = await describeMachine(servers);
  const database = await freshDatabase(servers, 'live');
  const span = await makeRows(database, size, progress);
  const access = await makeAccess(database, TENANT_ID);
  const answers = await loadAll(database, access, span);
  const exports = [];
  for (const asked of selected(EXPORTS)) exports.push(await exportAll(access, span, asked));
  console.log(`${machineLines(machine)}`);
  console.log(
    `${Object.entries(size)
      .map(([what, count]) => `${whole(count)} ${what}`)
      .join(', ')}; ${load.connections} requests at once for ${load.seconds} s each; shared_buffers ${whole(SHARED_BUFFERS_MB)} MB\n`,
  );
  if (answers.length > 0) console.log(`${answerTable(answers)}\n`);
  if (exports.length > 0) console.log(`${exportTable(exports)}\n`);
  console.log(targetTable(targets(answers, exports)));
  if (options.json) writeFileSync(options.json, JSON.stringify({ machine, size, load, answers, exports }, null, 2) + '\n');
  await database.drop();
} finally {
  await servers.stop();
}

async function loadAll({ sql }, access, span) {
  const api = await startApi(access);
  try {
    const asked = selected(await questions(sql, { ...span, tenantId: TENANT_ID }, (path) => api.get('tenant', path)));
    const answers = [];
    // Not counted: the first question would be measured while Node compiles what all have in common.
    if (asked.length > 0) await loadRun({ api, postgresPid: servers.postgres.pid }, asked[0], { ...load, seconds: WARM_UP_S });
    for (const question of asked) {
      const atOnce = Math.min(load.connections, question.mostAtOnce ?? Infinity);
      const answer = await attempt(question, () =>
        loadRun({ api, postgresPid: servers.postgres.pid }, question, { ...load, connections: atOnce }),
      );
      answers.push({ atOnce, ...answer });
    }
    return answers;
  } finally {
    await api.app.stop();
  }
}

/** What one question comes to, or `{ failure }`: it is not another's. */
async function attempt({ id, kind, ask }, run) {
  try {
    const answer = await run();
    progress(`${id}: ${whole(answer.perS)}/s, p99 ${decimal(answer.p99Ms, 1)} ms`);
    return answer;
  } catch (error) {
    progress(`${id} failed: ${error.message}`);
    process.exitCode = 1;
    return { id, kind, ask, failure: error.message };
  }
}

/** Of an API of its own: memory that another answer has left free would hide what this one takes. */
async function exportAll(access, { from }, { id, ...asked }) {
  const api = await startApi(access);
  try {
    const path = `export/messages?from=${from.toISOString()}`;
    // So that what Node compiles and opens for the first rows is there before the others are counted.
    await exportRun(api, { ...asked, slowS: 0, path: `${path}&to=${new Date(from.getTime() + HOUR_MS).toISOString()}`, rows: undefined });
    const run = await exportRun(api, { ...asked, path, rows: size.messages });
    progress(`${id}: ${whole(run.perS)} rows/s, ${megabytes(run.grownBytes)} MB more`);
    return { id, ...run };
  } finally {
    await api.app.stop();
  }
}

function answerTable(answers) {
  const head = ['asked', 'kind', 'at once', 'kB', 'answers/s', 'p50 ms', 'p99 ms', 'max ms', 'CPU ms API', 'PostgreSQL', 'load'];
  head.push('others’ cores', 'RSS MB');
  const rows = answers.map(({ ask, kind, atOnce, failure, bytes, perS, p50Ms, p99Ms, maxMs, cpuMs, othersCores, rssBytes }) => [
    ...[ask, kind, whole(atOnce)],
    ...(failure === undefined
      ? [
          ...[decimal(bytes / 1000, 1), whole(perS)],
          ...[p50Ms, p99Ms, maxMs].map((ms) => decimal(ms, 1)),
          ...[cpuMs.api, cpuMs.postgres, cpuMs.load, othersCores].map((value) => decimal(value)),
          megabytes(rssBytes),
        ]
      : ['failed', ...Array(9).fill('-')]),
  ]);
  return table(head, rows);
}

function exportTable(exports) {
  const head = ['export of messages', 'rows', 'MB', 'seconds', 'rows/s', 'CPU µs/row API', 'RSS MB before', 'more at most'];
  const rows = exports.map(({ format, slowS, rows: count, bytes, seconds, perS, cpuMicros, rssBytes, grownBytes }) => [
    slowS === 0 ? format : `${format}, ${whole(SLOW_READER.bytesPerS / MB)} MB/s for ${slowS} s, then as it comes`,
    ...[
      whole(count),
      megabytes(bytes),
      decimal(seconds, 1),
      whole(perS),
      decimal(cpuMicros, 1),
      megabytes(rssBytes),
      megabytes(grownBytes),
    ],
  ]);
  return table(head, rows);
}

function targets(answers, exports) {
  const slowest = (...kinds) => {
    const asked = answers.filter(({ kind, failure }) => kinds.includes(kind) && failure === undefined);
    return asked.length === 0 ? undefined : asked.reduce((a, b) => (a.p99Ms > b.p99Ms ? a : b));
  };
  const p99 = (what, answer) => below(`p99 ms of ${what}${answer ? ` (slowest: ${answer.ask})` : ''}`, WANTED_P99_MS, answer?.p99Ms);
  const grown = exports.length === 0 ? undefined : Math.max(...exports.map(({ grownBytes }) => (grownBytes ?? NaN) / MB));
  return [
    p99('lists and lookups', slowest('list', 'lookup')),
    p99('what is computed', slowest('computed')),
    below('MB more for an export', WANTED_GROWTH_MB, Number.isNaN(grown) ? undefined : grown),
  ];
}
