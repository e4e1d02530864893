// Makes sure of the programs that specs run against but npm does not bring: Mosquitto and its clients, and on Linux faketime, which
// moves the clock of one process; with `--ci` also Debian's PostgreSQL, so that migrations are tried on an older version than the
// embedded one.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin', '/opt/homebrew/sbin', '/opt/homebrew/bin'];

function onThisMachine(program) {
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

const packagedPostgres = () => existsSync('/usr/lib/postgresql') && readdirSync('/usr/lib/postgresql').length > 0;
/** As libs/testing/src/fake-clock.ts finds it. */
const faketime = () =>
  ['/usr/lib', '/usr/lib64', ...readdirSync('/usr/lib').map((name) => `/usr/lib/${name}`)].some((folder) =>
    existsSync(join(folder, 'faketime/libfaketimeMT.so.1')),
  );
const wanted = [
  { apt: 'mosquitto', isThere: () => onThisMachine('mosquitto') },
  { apt: 'mosquitto-clients', isThere: () => onThisMachine('mosquitto_pub') },
  ...(process.platform === 'linux' ? [{ apt: 'faketime', isThere: faketime, without: 'the specs of clock jumps are skipped' }] : []),
  ...(process.argv.includes('--ci') ? [{ apt: 'postgresql', isThere: packagedPostgres }] : []),
];
const missing = () => wanted.filter((tool) => !tool.isThere());

/** The words before a command that make it root's: none, sudo without a password, or undefined. */
function asRoot() {
  if (process.getuid?.() === 0) return [];
  return spawnSync('sudo', ['-n', 'true']).status === 0 ? ['sudo', '-n'] : undefined;
}

function isDebian() {
  return existsSync('/etc/os-release') && /^ID(_LIKE)?=.*(debian|ubuntu)/m.test(readFileSync('/etc/os-release', 'utf8'));
}

/**
 * Installs without starting the packages' own services, which would take ports 1883 and 5432: Debian's policy-rc.d says no for
 * as long as this runs. Where there is a systemd they do not start at the next boot either; `systemctl enable` undoes that.
 */
const INSTALL = `
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap 'rm -f $policy' EXIT
  trap 'exit 1' INT TERM
  printf '#!/bin/sh\\nexit 101\\n' >$policy
  chmod 755 $policy
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -q update && apt-get -q install -y --no-install-recommends "$@"
if [ -d /run/systemd/system ]; then
  for package in "$@"; do systemctl disable "$package" 2>/dev/null; done
fi
`;

function install(packages, prefix) {
  console.log(`installing ${packages.join(', ')} with apt-get`);
  const [command, ...args] = [...prefix, 'sh', '-c', INSTALL, 'sh', ...packages];
  spawnSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'] });
}

const toInstall = missing().map((tool) => tool.apt);
const prefix = toInstall.length > 0 && isDebian() ? asRoot() : undefined;
if (prefix) install(toInstall, prefix);
for (const { apt, without } of missing().filter((tool) => tool.without)) console.error(`${apt} is not there: ${without}`);
const left = missing()
  .filter((tool) => !tool.without)
  .map((tool) => tool.apt);
if (left.length > 0) {
  console.error(`The tests need ${left.join(', ')}, which could not be installed from here. Install with`);
  console.error(`  Debian, Ubuntu: sudo apt-get update && sudo apt-get install --no-install-recommends ${left.join(' ')}`);
  console.error(`  macOS:          brew install ${left.includes('postgresql') ? 'mosquitto postgresql@15' : 'mosquitto'}`);
  process.exit(1);
}
console.log(
  `tools: ${wanted
    .filter((tool) => tool.isThere())
    .map((tool) => tool.apt)
    .join(', ')} ${toInstall.length > 0 ? 'installed' : 'are there'}`,
);
