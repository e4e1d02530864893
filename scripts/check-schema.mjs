// Migrates an empty database and fails when the entities say something else than the migrations made.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres } from '../dist/libs/embedded/src/index.js';

const dir = mkdtempSync(join(tmpdir(), 'tallystick-schema-'));
const postgres = await startEmbeddedPostgres({ dataDir: join(dir, 'postgres'), port: 0, durable: false });
const env = { ...process.env, DATABASE_URL: postgres.url };
const run = (...args) => spawnSync(process.execPath, args, { stdio: 'inherit', env }).status;
try {
  process.exitCode =
    run('dist/apps/cli/src/main.js', 'migrate') ||
    run('node_modules/typeorm/cli.js', 'migration:generate', '--check', '-d', 'dist/libs/persistence/src/data-source.js', 'drift') ||
    0;
} finally {
  await postgres.stop();
  rmSync(dir, { recursive: true, force: true });
}
