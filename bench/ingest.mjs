// `npm run bench:ingest`: how fast messages become durable rows, beside hand-written consumers and beside COPY alone.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { CONTESTANTS, selected } from './contestants.mjs';
import { killRun } from './kill-run.mjs';
import { liveRun } from './live-run.mjs';
import { describeMachine } from './machine.mjs';
import { liveTable, machineLines, spread, targetTable, throughputTable } from './report.mjs';
import { startServers } from './servers.mjs';
import { targetsOf } from './targets.mjs';
import { throughputRun } from './throughput-run.mjs';

/** Whose latency is measured at steady rates. */
const LIVE_IDS = ['product-live', 'product-live-2-lanes', 'product-off', 'product-off-2-lanes'];

const USAGE = `npm run bench:ingest -- [options]
  --messages 100000  messages of a run
  --repeat 3         runs of each contestant; medians are reported
  --devices 1000     devices that send in turn
  --only LIST        contestants by name or group (product, tenants, replicas, copy, peers), with commas; none for none
  --kill             also: kill -9 in mid-run, one run a contestant
  --live             also: time from receipt to commit at steady rates
  --live-seconds 10  how long each rate is held
  --json FILE        everything that was measured
  --dir FOLDER       where the data goes: the disk that is measured (default: the folder for temporary files)`;

const options = orUsage(
  () =>
    parseArgs({
      options: {
        messages: { type: 'string', default: '100000' },
        repeat: { type: 'string', default: '3' },
        devices: { type: 'string', default: '1000' },
        only: { type: 'string' },
        kill: { type: 'boolean', default: false },
        live: { type: 'boolean', default: false },
        'live-seconds': { type: 'string', default: '10' },
        json: { type: 'string' },
        dir: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    }).values,
);
if (options.help) {
  console.log(USAGE);
  process.exit(0);
}
const size = { messages: wholeNumber('messages'), devices: wholeNumber('devices'), repeat: wholeNumber('repeat') };
const liveSeconds = wholeNumber('live-seconds');
const contestants = orUsage(() => selected(options.only));
const progress = (line) => console.error(`${new Date().toISOString().slice(11, 19)} ${line}`);

progress('starting PostgreSQL and Mosquitto');
const servers = await startServers({ within: options.dir });
try {
  const machine = await describeMachine(servers);
  const results = await measureAll();
  const live = options.live ? await measureLive() : [];
  const report = { machine, size, results, live };
  console.log(`${machineLines(machine)}\n${size.messages} messages, ${size.devices} devices, ${size.repeat} runs each: medians\n`);
  if (results.length > 0) console.log(throughputTable(results) + '\n');
  if (live.length > 0) console.log(liveTable(live) + '\n');
  console.log(targetTable(targetsOf(report)));
  if (options.json) writeFileSync(options.json, JSON.stringify(report, null, 2) + '\n');
  if ([...results, ...live].some(({ failure, kill }) => failure ?? kill?.failure)) process.exitCode = 1;
} finally {
  await servers.stop();
}

/** Every contestant in turn, then all again: what changes on the machine in the meantime meets all of them. */
async function measureAll() {
  const results = contestants.map(({ id, group, label, jsonIndex }) => ({ id, group, label, jsonIndex, runs: [], failure: undefined }));
  for (let round = 1; round <= size.repeat; round++) {
    for (const [index, contestant] of contestants.entries()) {
      if (results[index].failure !== undefined) continue;
      const run = await attempt(`${contestant.id}, run ${round}`, () => throughputRun(servers, contestant, size));
      if (run.failure !== undefined) results[index].failure = run.failure;
      else results[index].runs.push(run);
      if (run.rate) progress(`${contestant.id}, run ${round}: ${Math.round(run.rate)} messages/s`);
    }
  }
  if (options.kill) {
    for (const [index, contestant] of contestants.entries()) {
      if (contestant.processes !== 1) continue;
      results[index].kill = await attempt(`${contestant.id}, kill -9`, () => killRun(servers, contestant, size));
    }
  }
  for (const result of results) if (result.failure === undefined) result.summary = summaryOf(result.runs);
  return results.map((result) => ({ ...result, ...ratiosOf(result, results) }));
}

async function measureLive() {
  const live = [];
  for (const id of LIVE_IDS) {
    const contestant = CONTESTANTS.find((candidate) => candidate.id === id);
    const run = async () => ({ phases: await liveRun(servers, contestant, { devices: size.devices, seconds: liveSeconds }) });
    const { label, jsonIndex } = contestant;
    live.push({ id, label, jsonIndex, ...(await attempt(`${id}, live`, run)) });
  }
  return live;
}

/** The outcome, or `{ failure }`: one contestant's failure is not another's. */
async function attempt(what, run) {
  progress(what);
  try {
    return await run();
  } catch (error) {
    progress(`${what} failed: ${error.message}`);
    return { failure: error.message };
  }
}

function summaryOf(runs) {
  const groups = ['consumer', 'postgres', 'broker'];
  return {
    rate: spread(runs, (run) => run.rate),
    bytesPerRow: spread(runs, (run) => run.bytesPerRow),
    walBytesPerRow: spread(runs, (run) => run.walBytesPerRow),
    cpuMicros: runs[0].cpuMicros && Object.fromEntries(groups.map((group) => [group, spread(runs, (run) => run.cpuMicros[group])])),
    peakRssBytes: spread(runs, (run) => run.peakRssBytes),
  };
}

/** To COPY alone and to the lossless peer with the same index. */
function ratiosOf({ summary, jsonIndex }, results) {
  const rateOf = (id) => results.find((result) => result.id === `${id}-${jsonIndex}`)?.summary?.rate.median;
  const ratioTo = (id) => (summary && rateOf(id) ? summary.rate.median / rateOf(id) : undefined);
  return { ofCopy: ratioTo('copy'), timesLossless: ratioTo('awaited-insert') };
}

function wholeNumber(name) {
  return orUsage(() => {
    const value = Number(options[name]);
    if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} must be a whole number above 0`);
    return value;
  });
}

function orUsage(read) {
  try {
    return read();
  } catch (error) {
    console.error(`${error.message}\n\n${USAGE}`);
    process.exit(64);
  }
}
