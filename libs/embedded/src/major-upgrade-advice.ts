import { existsSync } from 'node:fs';
import { type Account, setprivOptions } from './unprivileged.js';

export interface MajorUpgrade {
  dataDir: string;
  passwordFile: string;
  /** the major version that wrote the folder, and the one that runs here */
  found: number;
  running: number;
  account: Account | undefined;
}

/** A port that is rarely taken; the old server needs it only while it is being dumped. */
const DUMP_PORT = 54399;

/** What to type, in order, to carry the data of another major version over. */
export function majorUpgradeAdvice({ dataDir, passwordFile, found, running, account }: MajorUpgrade): string {
  const debianBin = `/usr/lib/postgresql/${found}/bin`;
  const bin = process.platform === 'linux' ? `${debianBin}/` : '';
  const installed = bin !== '' && existsSync(`${bin}pg_ctl`);
  // pg_ctl refuses root just as the server does
  const as = account ? `setpriv ${setprivOptions(account).join(' ')} ` : '';
  const dump = `${dataDir}-${found}.dump`;
  return [
    `The data folder ${dataDir} was written by PostgreSQL ${found}; this program runs PostgreSQL ${running}, which cannot read it. Nothing was changed.`,
    `Dump it with PostgreSQL ${found}${installed ? '' : ` (install it first; Debian and Ubuntu: apt-get install postgresql-${found})`}:`,
    `  ${as}${bin}pg_ctl -D '${dataDir}' -o '-p ${DUMP_PORT} -c listen_addresses=127.0.0.1 -c unix_socket_directories=' -l /dev/null -w start`,
    `  PGPASSWORD="$(cat '${passwordFile}')" ${bin}pg_dump -h 127.0.0.1 -p ${DUMP_PORT} -U postgres -Fc -f '${dump}' tallystick`,
    `  ${as}${bin}pg_ctl -D '${dataDir}' -w stop`,
    `  mv '${dataDir}' '${dataDir}-${found}'`,
    `Then start again, which makes a new data folder, and load the dump into the database URL it prints:`,
    `  pg_restore --clean --if-exists --no-owner -d '<database URL>' '${dump}'`,
  ].join('\n');
}
