// `npm run bench:receive`: how much of the speed of a bare MQTT.js client the bridge's way in keeps, without a database.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { dropSession, makeSession, publishBacklog } from './broker-sessions.mjs';
import { ConsumerProcess } from './consumer-process.mjs';
import { describeMachine } from './machine.mjs';
import { messageAt, TOPIC_FILTER } from './payloads.mjs';
import { decimal, machineLines, spread, table, withSpread } from './report.mjs';
import { startServers } from './servers.mjs';

const WANTED_OF_BARE = 0.8;
const RUN_LIMIT_MS = 120_000;
const RECEIVERS = [
  { id: 'bare', label: 'MQTT.js alone, counting', script: 'bench/receivers/bare-client.mjs' },
  { id: 'transport', label: 'Tallystick: transport under Nest', script: 'bench/receivers/bridge.mjs' },
  { id: 'intake', label: 'Tallystick: + checks, hashes, batches', script: 'bench/receivers/bridge.mjs' },
];

const { values: options } = parseArgs({
  options: {
    messages: { type: 'string', default: '100000' },
    repeat: { type: 'string', default: '3' },
    devices: { type: 'string', default: '1000' },
    json: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  console.log('npm run bench:receive -- [--messages 100000] [--repeat 3] [--devices 1000] [--json FILE]');
  process.exit(0);
}
const [messages, repeat, devices] = [options.messages, options.repeat, options.devices].map(Number);
if ([messages, repeat, devices].some((value) => !Number.isInteger(value) || value < 1)) {
  console.error('--messages, --repeat and --devices must be whole numbers above 0');
  process.exit(64);
}
const progress = (line) => console.error(`${new Date().toISOString().slice(11, 19)} ${line}`);

const servers = await startServers({ withDatabase: false });
try {
  const machine = await describeMachine(servers);
  const results = RECEIVERS.map((receiver) => ({ ...receiver, runs: [], failure: undefined }));
  for (let round = 1; round <= repeat; round++) for (const result of results) await measure(result, round);
  const bare = summaryOf(results[0]);
  const rows = results.map((result) => ({ ...result, ...summaryOf(result), ofBare: ratio(summaryOf(result), bare) }));
  console.log(`${machineLines(machine)}\n${messages} messages of about 500 bytes at QoS 1, ${repeat} runs each: medians\n`);
  console.log(receiveTable(rows) + '\n');
  for (const { label, ofBare } of rows.slice(1)) {
    const verdict = ofBare === undefined ? 'not measured' : ofBare >= WANTED_OF_BARE ? 'reached' : 'NOT reached';
    console.log(`${label}: at least ${WANTED_OF_BARE} of the bare client: ${verdict}`);
  }
  if (options.json) writeFileSync(options.json, JSON.stringify({ machine, messages, repeat, devices, results: rows }, null, 2) + '\n');
  if (rows.some(({ failure }) => failure !== undefined)) process.exitCode = 1;
} finally {
  await servers.stop();
}

async function measure(result, round) {
  if (result.failure !== undefined) return;
  progress(`${result.id}, run ${round}`);
  try {
    result.runs.push(await receiveRun(result));
  } catch (error) {
    result.failure = error.message;
    progress(`${result.id}, run ${round} failed: ${error.message}`);
  }
}

/** Rate (messages/s) and CPU µs per message, from the first message to the last acknowledgement. */
async function receiveRun({ id, script }) {
  const session = { clientId: `receive-${id}`, protocolVersion: 5, filter: TOPIC_FILTER };
  const { url } = servers.broker;
  await makeSession(url, session);
  await publishBacklog(url, messages, (index) => messageAt(index, { devices, tenants: 1 }));
  const env = { NODE_ENV: 'production', RECEIVER: id, MQTT_URL: url, MQTT_CLIENT_ID: session.clientId, MESSAGES: String(messages) };
  const receiver = new ConsumerProcess(script, { ...env, MQTT_TOPICS: TOPIC_FILTER });
  try {
    const { seconds, cpuSeconds, done } = await receiver.message(RUN_LIMIT_MS);
    if (done !== messages) throw new Error(`${done} messages came of ${messages}`);
    return { rate: messages / seconds, cpuMicros: (cpuSeconds * 1e6) / messages };
  } finally {
    await receiver.kill();
    await dropSession(url, session);
  }
}

function summaryOf({ runs, failure }) {
  if (failure !== undefined) return {};
  return { rate: spread(runs, (run) => run.rate), cpuMicros: spread(runs, (run) => run.cpuMicros) };
}

function ratio({ rate }, bare) {
  return rate && bare.rate ? rate.median / bare.rate.median : undefined;
}

function receiveTable(rows) {
  const cells = rows.map(({ label, failure, rate, cpuMicros, ofBare }) =>
    failure === undefined ? [label, withSpread(rate), decimal(ofBare), decimal(cpuMicros.median, 1)] : [label, 'failed', '-', '-'],
  );
  const failures = rows.filter(({ failure }) => failure !== undefined).map(({ id, failure }) => `failed: ${id}: ${failure}`);
  return [table(['receiver', 'messages/s (min–max)', 'of the bare client', 'CPU µs consumer'], cells), ...failures].join('\n');
}
