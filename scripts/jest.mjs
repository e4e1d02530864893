// Runs the specs of the given kinds one kind after another: `node scripts/jest.mjs spec integration-spec [jest arguments]`.
// Every kind but the pure `spec` needs PostgreSQL: the embedded one is started for the run unless TEST_DATABASE_URL names a server.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const kinds = process.argv.slice(2).filter((arg) => /^([a-z0-9]+-)?spec$/.test(arg));
const jestArgs = process.argv.slice(2).filter((arg) => !kinds.includes(arg));
const node = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', 'node_modules/jest/bin/jest.js'];

// Ctrl-C reaches jest too, being in the same process group; we only wait for its end, so that PostgreSQL is stopped after it.
let interrupted = false;
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => (interrupted = true));

// Everything that specs put into the temporary folder lands in this one, and goes with it.
const runDir = realpathSync(mkdtempSync(join(tmpdir(), 'tallystick-test-')));
const env = { ...process.env, TMPDIR: runDir, FAULT_REPORT: join(runDir, 'faults.jsonl') };

/** Runs the specs of one kind; its exit code. */
function run(kind) {
  // Two at a time: they wait more than they compute. The long faults are timed by what they starve, and are alone.
  const inBand = kind === 'system-spec' && process.env.FAULTS === 'long';
  const perKind = kind === 'spec' ? [] : ['--testTimeout=60000', ...(inBand ? ['--runInBand'] : ['--maxWorkers=2'])];
  const args = [...node, ...jestArgs, `--testRegex=\\.${kind}\\.ts$`, ...perKind];
  return new Promise((resolve) => spawn(process.execPath, args, { stdio: 'inherit', env }).once('exit', (code) => resolve(code ?? 1)));
}

/** Ends the servers that specs left behind: processes (on Linux) that name our folder in their command line. How many there were. */
function endLeftovers() {
  if (process.platform !== 'linux') return 0;
  let count = 0;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      if (!command.includes(`${runDir}/`)) continue;
      process.kill(Number(pid), 'SIGKILL');
      console.error(`left behind by a spec, ended: ${command}`);
      count += 1;
    } catch {
      // ended while we were looking, or another user's
    }
  }
  return count;
}

/** One line for each fault that was injected: what was done, and what was counted afterwards. */
function printFaultReport() {
  if (!existsSync(env.FAULT_REPORT)) return;
  const lines = readFileSync(env.FAULT_REPORT, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const width = Math.max(...lines.map(({ done }) => done.length));
  console.error('\n# faults');
  for (const { done, seed, counted } of lines) {
    const figures = Object.entries(counted).map(([name, value]) => `${name} ${value}`);
    console.error(`${done.padEnd(width)}  ${figures.join(', ')} (seed ${seed})`);
  }
}

let status = 0;
let postgres;
try {
  if (kinds.some((kind) => kind !== 'spec') && !env.TEST_DATABASE_URL) {
    const { startEmbeddedPostgres } = await import('../dist/libs/embedded/src/index.js');
    postgres = await startEmbeddedPostgres({ dataDir: join(runDir, 'postgres'), port: 0, durable: false });
    env.TEST_DATABASE_URL = postgres.url;
  }
  for (const kind of kinds) {
    if (interrupted) break;
    console.error(`\n# ${kind}`);
    const kindStatus = await run(kind);
    status ||= kindStatus;
  }
} finally {
  await postgres?.stop();
  if (endLeftovers() > 0) status ||= 1;
  printFaultReport();
  rmSync(runDir, { recursive: true, force: true, maxRetries: 3 });
}
process.exit(interrupted ? 130 : status);
