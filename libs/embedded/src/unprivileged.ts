import { chownSync, statSync } from 'node:fs';
import { findProgram } from './programs.js';
import { MissingProgramError } from './errors.js';

/** `nobody` on every Linux; initdb wants a user that has a name. */
const NOBODY = 65534;

export interface Account {
  uid: number;
  gid: number;
}

/** The account an embedded server runs as when we are root (PostgreSQL refuses root), otherwise undefined: as ourselves. */
export function serverAccount(dataDir: string): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const owner = statSync(dataDir, { throwIfNoEntry: false });
  // A folder made earlier by an ordinary user stays that user's; PostgreSQL insists on owning its folder.
  return owner && owner.uid !== 0 ? { uid: owner.uid, gid: owner.gid } : { uid: NOBODY, gid: NOBODY };
}

/** Gives a folder to the account, if there is one. */
export function giveTo(account: Account | undefined, path: string): void {
  if (account) chownSync(path, account.uid, account.gid);
}

/**
 * The command line that runs `command` as `account`. It keeps one right of root, CAP_DAC_OVERRIDE as an ambient capability,
 * so that binaries and data under a 0700 home (a clone in /root) can still be reached; that is why spawn's own `uid` will not do.
 */
export function unprivileged(account: Account | undefined, command: string, args: string[]): [string, string[]] {
  if (!account) return [command, args];
  const setpriv = findProgram('setpriv');
  if (!setpriv) {
    throw new MissingProgramError(
      'The embedded servers do not run as root, and `setpriv` (Debian and Ubuntu: package util-linux) that would start them as another user is missing. ' +
        'Install it, run this program as an ordinary user, or set DATABASE_URL and MQTT_URL to servers of your own.',
    );
  }
  return [setpriv, [...setprivOptions(account), '--', command, ...args]];
}

/**
 * The options of setpriv for `unprivileged`. PostgreSQL asks access(2) whether it may run its own programs, and for a user other
 * than root that call looks at no capability unless the securebit says that changing the user left them alone (capabilities(7)).
 */
export function setprivOptions({ uid, gid }: Account): string[] {
  const rights = ['--securebits=+no_setuid_fixup', '--inh-caps=+dac_override', '--ambient-caps=+dac_override'];
  return [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', ...rights];
}
