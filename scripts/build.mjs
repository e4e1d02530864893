// Builds every app (and with it the libs it imports) into dist/. `--if-stale`: only when a source is newer than the last build.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const stamp = 'dist/.built';
const sources = ['apps', 'libs', 'tsconfig.json', 'nest-cli.json', 'package-lock.json'];

/** Newest modification time (ms) below a path; specs do not count, they are not built. */
function newestMs(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return path.endsWith('spec.ts') ? 0 : stat.mtimeMs;
  return Math.max(0, ...readdirSync(path).map((name) => newestMs(join(path, name))));
}

if (process.argv.includes('--if-stale') && existsSync(stamp)) {
  if (Math.max(...sources.map(newestMs)) <= statSync(stamp).mtimeMs) process.exit(0);
}
const startedAt = Date.now();
const apps = readdirSync('apps').filter((app) => existsSync(`apps/${app}/tsconfig.app.json`));
// the runner of the specs starts PostgreSQL with it, whether or not an app imports it
const projects = [...apps, 'embedded'];
console.error(`building ${projects.join(', ')} …`);
rmSync('dist', { recursive: true, force: true });
const build = spawnSync(process.execPath, ['node_modules/@nestjs/cli/bin/nest.js', 'build', ...projects], {
  stdio: ['ignore', 'inherit', 'inherit'],
});
if (build.status !== 0) process.exit(build.status ?? 1);
writeFileSync(stamp, '');
console.error(`built in ${((Date.now() - startedAt) / 1000).toFixed(1)} s`);
