// Compares openapi.json with what the built API says of itself.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const directory = mkdtempSync(join(tmpdir(), 'tallystick-openapi-'));
const fresh = join(directory, 'openapi.json');
const run = spawnSync(process.execPath, ['dist/apps/api/src/export-openapi.js', fresh], { stdio: 'inherit' });
const differs = run.status === 0 && read('openapi.json') !== read(fresh);
rmSync(directory, { recursive: true });
if (run.status !== 0) {
  console.error('The OpenAPI document could not be exported. Is the API built (`npm run build`)?');
  process.exit(1);
}
if (differs) {
  console.error('openapi.json is not what the API says of itself. Run `npm run openapi`, look at the difference, and commit it.');
  process.exit(1);
}

function read(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
