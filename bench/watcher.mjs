// `npm run bench:watcher`: how many log lines the broker watcher turns into history, how fast, and with how much memory.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { describeMachine } from './machine.mjs';
import { slowestLine } from './parse-times.mjs';
import { decimal, machineLines, megabytes, spread, table, targetTable, whole, withSpread } from './report.mjs';
import { startServers } from './servers.mjs';
import { atLeast, below } from './targets.mjs';
import { backlogRun, steadyRuns } from './watcher-run.mjs';

const RATES_PER_S = [500, 2_000, 4_000];
const WANTED_PER_S = 2_000;
const MB = 1e6;

const { values: options } = parseArgs({
  options: {
    lines: { type: 'string', default: '10000' },
    repeat: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '10' },
    json: { type: 'string' },
    dir: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  console.log(`npm run bench:watcher -- [options]
  --lines 10000  log lines that wait for the watcher in a run; the broker keeps each for 20 s
  --repeat 3     such runs; the median is reported
  --seconds 10   how long each steady rate is held
  --json FILE    everything that was measured
  --dir FOLDER   where the data goes: the disk that is measured (default: the folder for temporary files)`);
  process.exit(0);
}
const [lines, repeat, seconds] = [options.lines, options.repeat, options.seconds].map(Number);
if ([lines, repeat, seconds].some((value) => !Number.isInteger(value) || value < 1)) {
  console.error('--lines, --repeat and --seconds must be whole numbers above 0');
  process.exit(64);
}
const progress = (line) => console.error(`${new Date().toISOString().slice(11, 19)} ${line}`);

progress('reading the worst lines');
const slowest = slowestLine();
progress('starting PostgreSQL and Mosquitto');
const servers = await startServers({ within: options.dir, brokerLines: ['sys_interval 1'] });
try {
  const machine = await describeMachine(servers);
  const backlog = { runs: [], failure: undefined };
  for (let round = 1; round <= repeat && backlog.failure === undefined; round++) {
    const run = await attempt(`backlog of ${lines} lines, run ${round}`, () => backlogRun(servers, lines));
    if (run.failure === undefined) backlog.runs.push(run);
    else backlog.failure = run.failure;
  }
  const steady = await attempt('steady rates', async () => ({ phases: await steadyRuns(servers, RATES_PER_S, seconds) }));
  print(machine, backlog, steady);
  const report = { machine, lines, repeat, seconds, backlog, steady, slowest };
  if (options.json) writeFileSync(options.json, JSON.stringify(report, null, 2) + '\n');
  if (backlog.failure ?? steady.failure) process.exitCode = 1;
} finally {
  await servers.stop();
}

function print(machine, backlog, { phases = [], failure }) {
  console.log(`${machineLines(machine)}\n`);
  const rate = backlog.failure === undefined ? spread(backlog.runs, (run) => run.linesPerS) : undefined;
  console.log(`${lines} lines that waited at the broker, ${repeat} runs: ${withSpread(rate)} lines/s from receipt to commit\n`);
  console.log(steadyTable(phases) + '\n');
  console.log(`slowest line to read: ${decimal(slowest.ms)} ms (${slowest.what})\n`);
  const peak = Math.max(...[...backlog.runs, ...phases].map(({ peakRssBytes }) => peakRssBytes ?? NaN));
  const p99 = phases.find(({ linesPerS }) => linesPerS === WANTED_PER_S)?.p99Ms;
  const targets = [
    atLeast('log lines/s', WANTED_PER_S, rate?.median),
    below(`p99 ms from receipt to commit at ${whole(WANTED_PER_S)} lines/s`, 1_000, p99),
    below('MB of memory', 200, Number.isFinite(peak) ? peak / MB : undefined),
    below('ms to read the worst line', 10, slowest.ms),
  ];
  console.log(targetTable(targets));
  for (const problem of [backlog.failure, failure].filter(Boolean)) console.log(`failed: ${problem}`);
}

function steadyTable(phases) {
  const head = ['wanted lines/s', 'reached', 'p50 ms', 'p99 ms', 'max ms', '$SYS values/s', 'RSS MB', 'peak RSS MB'];
  const rows = phases.map((phase) => [
    whole(phase.linesPerS),
    whole(phase.reached),
    ...[phase.p50Ms, phase.p99Ms, phase.maxMs, phase.valuesPerS].map((value) => decimal(value, 1)),
    megabytes(phase.rssBytes),
    megabytes(phase.peakRssBytes),
  ]);
  return table(head, rows);
}

/** The outcome, or `{ failure }`. */
async function attempt(what, run) {
  progress(what);
  try {
    return await run();
  } catch (error) {
    progress(`${what} failed: ${error.message}`);
    return { failure: error.message };
  }
}
