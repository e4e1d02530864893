// Compares openapi.json with what the built API says of itself, and lints it by the rules of redocly.yaml.
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
// Its banner for Node 20 is nothing to look at each time: the output is shown when something is wrong. The variable keeps it off the network.
const redocly = ['node_modules/@redocly/cli/bin/cli.js', 'lint', 'openapi.json', '--format=stylish'];
const lint = spawnSync(process.execPath, redocly, { encoding: 'utf8', env: { ...process.env, REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' } });
if (lint.status !== 0) {
  console.error(lint.stdout + lint.stderr);
  process.exit(1);
}

function read(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
