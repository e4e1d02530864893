// The configuration table of README.md is made from the configuration classes. Fails when it is not up to date; `--write` makes it so.
import { readFileSync, writeFileSync } from 'node:fs';
import prettier from 'prettier';
import { ApiConfig } from '../dist/apps/api/src/api.config.js';
import { BrokerWatcherConfig } from '../dist/apps/broker-watcher/src/broker-watcher.config.js';
import { UpConfig } from '../dist/apps/cli/src/up/up.config.js';
import { IngestBridgeConfig } from '../dist/apps/ingest-bridge/src/ingest-bridge.config.js';
import { describeSettings } from '../dist/libs/config/src/index.js';

const START = '<!-- configuration: made by `npm run docs`, do not edit -->';
const END = '<!-- /configuration -->';
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
  const apps = [...defaults.keys()];
  const values = new Set(defaults.values());
  const value = values.size === 1 ? `\`${[...values][0]}\`` : [...defaults].map(([app, text]) => `${app} \`${text}\``).join(', ');
  return `| \`${env}\`${secret ? ' (also `' + env + '_FILE`)' : ''} | ${value.replace('``', '')} | ${apps.length === Object.keys(CONFIGS).length ? 'all' : apps.join(', ')} | ${describe.replaceAll('|', '\\|')} |`;
}

const table = ['| variable | default | read by | what it does |', '|---|---|---|---|', ...[...settings.values()].map(row)].join('\n');
const readme = readFileSync('README.md', 'utf8');
const [before, rest] = readme.split(START);
const after = rest?.split(END)[1];
if (after === undefined) throw new Error(`README.md has no ${START} … ${END}`);
const options = { ...(await prettier.resolveConfig('README.md')), parser: 'markdown' };
const made = await prettier.format(`${before}${START}\n\n${table}\n\n${END}${after}`, options);
if (process.argv.includes('--write')) {
  writeFileSync('README.md', made);
} else if (made !== readme) {
  console.error('The configuration table in README.md is out of date. Run `npm run docs` after a build.');
  process.exitCode = 1;
}
