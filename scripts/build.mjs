// Builds every app (and with it the libs it imports) into dist/. `--if-stale`: only when a source is newer than the last build.
// What runs from dist/ goes on running: files are replaced, and those that no source stands for any more go last.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const stamp = 'dist/.built';
const lock = 'dist/.building';
const sources = ['apps', 'libs', 'tsconfig.json', 'nest-cli.json', 'package-lock.json'];

/** Newest modification time (ms) below a path; specs do not count, they are not built. */
function newestMs(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return path.endsWith('spec.ts') ? 0 : stat.mtimeMs;
  return Math.max(0, ...readdirSync(path).map((name) => newestMs(join(path, name))));
}

const isStale = () => !existsSync(stamp) || Math.max(...sources.map(newestMs)) > statSync(stamp).mtimeMs;

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Waits for a build by another process, and takes its place. */
async function takeLock() {
  mkdirSync('dist', { recursive: true });
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
      process.on('exit', () => rmSync(lock, { force: true }));
      return;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      if (!isAlive(Number(readFileSync(lock, 'utf8')))) rmSync(lock, { force: true });
      else await sleep(200);
    }
  }
}

function removeOlderThan(dir, ms) {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) removeOlderThan(path, ms);
    else if (statSync(path).mtimeMs < ms && path !== lock) rmSync(path);
  }
}

const ifStale = process.argv.includes('--if-stale');
if (ifStale && !isStale()) process.exit(0);
await takeLock();
if (ifStale && !isStale()) process.exit(0);

const startedAtMs = Date.now();
const apps = readdirSync('apps').filter((app) => existsSync(`apps/${app}/tsconfig.app.json`));
// the runner of the specs starts PostgreSQL with it, whether or not an app imports it
const projects = [...apps, 'embedded'];
console.error(`building ${projects.join(', ')} …`);
rmSync(stamp, { force: true });
rmSync('dist/.tsbuildinfo', { recursive: true, force: true });
const build = spawnSync(process.execPath, ['node_modules/@nestjs/cli/bin/nest.js', 'build', ...projects], {
  stdio: ['ignore', 'inherit', 'inherit'],
});
if (build.status !== 0) process.exit(build.status ?? 1);
// File systems may round times down to a second.
removeOlderThan('dist', startedAtMs - 2_000);
writeFileSync(stamp, '');
console.error(`built in ${((Date.now() - startedAtMs) / 1000).toFixed(1)} s`);
