// Runs the specs of the given kinds one kind after another: `node scripts/jest.mjs spec integration-spec [jest arguments]`.
// Every kind but the pure `spec` needs PostgreSQL: the embedded one is started for the run unless TEST_DATABASE_URL names a server.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const kinds = process.argv.slice(2).filter((arg) => /^([a-z0-9]+-)?spec$/.test(arg));
const jestArgs = process.argv.slice(2).filter((arg) => !kinds.includes(arg));
const node = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', 'node_modules/jest/bin/jest.js'];

let postgres;
let dataDir;
const env = { ...process.env };
if (kinds.some((kind) => kind !== 'spec') && !env.TEST_DATABASE_URL) {
  const { startEmbeddedPostgres } = await import('../dist/libs/embedded/src/index.js');
  dataDir = mkdtempSync(join(tmpdir(), 'tallystick-test-'));
  postgres = await startEmbeddedPostgres({ dataDir: join(dataDir, 'postgres'), port: 0, durable: false });
  env.TEST_DATABASE_URL = postgres.url;
}
let status = 0;
for (const kind of kinds) {
  console.error(`\n# ${kind}`);
  const perKind = kind === 'spec' ? [] : ['--testTimeout=60000', ...(kind === 'integration-spec' ? [] : ['--runInBand'])];
  const run = spawnSync(process.execPath, [...node, ...jestArgs, `--testRegex=\\.${kind}\\.ts$`, ...perKind], { stdio: 'inherit', env });
  status ||= run.status ?? 1;
}
await postgres?.stop();
if (dataDir) rmSync(dataDir, { recursive: true, force: true });
process.exit(status);
