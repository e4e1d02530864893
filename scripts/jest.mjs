// Runs the specs of the given kinds one kind after another: `node scripts/jest.mjs spec integration-spec [jest arguments]`.
// Every kind but the pure `spec` needs PostgreSQL: the embedded one is started for the run unless TEST_DATABASE_URL names a server.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const kinds = process.argv.slice(2).filter((arg) => /^([a-z0-9]+-)?spec$/.test(arg));
const jestArgs = process.argv.slice(2).filter((arg) => !kinds.includes(arg));
const node = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', 'node_modules/jest/bin/jest.js'];

// Ctrl-C reaches jest too, being in the same process group; we only wait for its end, so that PostgreSQL is stopped after it.
let interrupted = false;
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => (interrupted = true));

let postgres;
let dataDir;
const env = { ...process.env };
if (kinds.some((kind) => kind !== 'spec') && !env.TEST_DATABASE_URL) {
  const { startEmbeddedPostgres } = await import('../dist/libs/embedded/src/index.js');
  dataDir = mkdtempSync(join(tmpdir(), 'tallystick-test-'));
  postgres = await startEmbeddedPostgres({ dataDir: join(dataDir, 'postgres'), port: 0, durable: false });
  env.TEST_DATABASE_URL = postgres.url;
}

/** Runs the specs of one kind; its exit code. */
function run(kind) {
  const perKind = kind === 'spec' ? [] : ['--testTimeout=60000', ...(kind === 'integration-spec' ? [] : ['--runInBand'])];
  const args = [...node, ...jestArgs, `--testRegex=\\.${kind}\\.ts$`, ...perKind];
  return new Promise((resolve) => spawn(process.execPath, args, { stdio: 'inherit', env }).once('exit', (code) => resolve(code ?? 1)));
}

let status = 0;
try {
  for (const kind of kinds) {
    if (interrupted) break;
    console.error(`\n# ${kind}`);
    const kindStatus = await run(kind);
    status ||= kindStatus;
  }
} finally {
  await postgres?.stop();
  if (dataDir) rmSync(dataDir, { recursive: true, force: true });
}
process.exit(interrupted ? 130 : status);
