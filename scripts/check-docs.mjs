// docs/configuration.md is made from the configuration classes. Fails when it is not up to date; `--write` makes it so.
import { readFileSync, writeFileSync } from 'node:fs';
import prettier from 'prettier';
import { ApiConfig } from '../dist/apps/api/src/api.config.js';
import { BrokerWatcherConfig } from '../dist/apps/broker-watcher/src/broker-watcher.config.js';
import { UpConfig } from '../dist/apps/cli/src/up/up.config.js';
import { IngestBridgeConfig } from '../dist/apps/ingest-bridge/src/ingest-bridge.config.js';
import { describeSettings } from '../dist/libs/config/src/index.js';

const CONFIGS = { 'npm start': UpConfig, api: ApiConfig, 'ingest-bridge': IngestBridgeConfig, 'broker-watcher': BrokerWatcherConfig };

/** Settings by name: which apps read each, and with which default. */
const settings = new Map();
for (const [app, type] of Object.entries(CONFIGS)) {
  for (const setting of describeSettings(type)) {
    const known = settings.get(setting.env);
    // What `npm start` passes on to the apps is described by them.
    if (!known || known.defaults.has('npm start')) settings.set(setting.env, { ...setting, defaults: known?.defaults ?? new Map() });
    settings.get(setting.env).defaults.set(app, setting.defaultText);
  }
}

function row({ env, describe, secret, defaults }) {
  const values = new Set(defaults.values());
  const value =
    values.size === 1
      ? `\`${[...values][0]}\``
      : [...defaults]
          .filter(([, text]) => text !== '')
          .map(([app, text]) => `${app} \`${text}\``)
          .join(', ');
  return `| \`${env}\`${secret ? ' (also `' + env + '_FILE`)' : ''} | ${value.replace('``', '')} | ${describe.replaceAll('|', '\\|')} |`;
}

/** A table for the settings that the same apps read, those of the most apps first. */
function tables() {
  const byReaders = new Map();
  for (const setting of settings.values()) {
    const readers = [...setting.defaults.keys()].join(', ');
    byReaders.set(readers, [...(byReaders.get(readers) ?? []), setting]);
  }
  return [...byReaders]
    .sort(([, [one]], [, [other]]) => other.defaults.size - one.defaults.size)
    .flatMap(([readers, own]) => [`## ${readers}`, '', '| variable | default | what it does |', '|---|---|---|', ...own.map(row), '']);
}

const FILE = 'docs/configuration.md';
const text = `# Configuration

<!-- made by \`npm run docs\` from the configuration classes, do not edit -->

Apps are configured by environment variables alone; \`npm start\` and the command line also read \`.env\` (what the environment has already
wins). An empty variable counts as not set. A malformed configuration is refused with all its problems at once, exit code 78, before
anything is started: \`node dist/apps/<app>/src/main.js --check-config\` does only that, and \`--print-config\` prints what the configuration
came to and where each value is from, secrets hidden.

A secret may be in a file instead, which the same name with \`_FILE\` points to.

${tables().join('\n')}`;
const options = { ...(await prettier.resolveConfig(FILE)), parser: 'markdown' };
const made = await prettier.format(text, options);
if (process.argv.includes('--write')) {
  writeFileSync(FILE, made);
} else if (made !== readFileSync(FILE, 'utf8')) {
  console.error(`${FILE} is out of date. Run \`npm run docs\` after a build.`);
  process.exitCode = 1;
}
