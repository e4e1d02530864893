import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { EmbeddedError, FolderNotWritableError, NotADataFolderError, WrongMajorVersionError } from './errors.js';
import { majorUpgradeAdvice } from './major-upgrade-advice.js';
import type { PostgresBinaries } from './postgres-binaries.js';
import { type Account, giveTo, unprivileged } from './unprivileged.js';

export const SUPERUSER = 'postgres';

/** Beside the data folder, not in it: initdb wants its folder empty, and a copied data folder should not carry the password. */
export function passwordFileOf(dataDir: string): string {
  return `${dataDir}.password`;
}

/** What the server's processes see of our environment: no PG* variable of the operator's shell changes how they run. */
export function serverEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' };
}

/** Makes the folder that will hold the data folder, or throws FolderNotWritableError. */
export function assertUsable(dataDir: string): void {
  try {
    mkdirSync(dirname(dataDir), { recursive: true, mode: 0o700 });
    accessSync(dirname(dataDir), constants.W_OK | constants.X_OK);
    if (existsSync(dataDir)) accessSync(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (cause) {
    const owner = foreignOwner(dataDir);
    const reason = owner === undefined ? (cause as Error).message : `it belongs to the user with id ${owner} (was it made by root?)`;
    throw new FolderNotWritableError(dataDir, reason, { cause });
  }
}

/** The id of the user whose folder this is, if that is somebody else and we are not root. */
function foreignOwner(dataDir: string): number | undefined {
  try {
    const { uid } = statSync(dataDir);
    return process.getuid?.() === 0 || uid === process.getuid?.() ? undefined : uid;
  } catch {
    return undefined;
  }
}

/** Whether the folder holds a data folder that `binaries` can run; false = make one. Throws for anything else in its place. */
export function holdsData(dataDir: string, binaries: PostgresBinaries, account: Account | undefined): boolean {
  if (!existsSync(dataDir)) return false;
  if (!existsSync(join(dataDir, 'PG_VERSION'))) {
    if (readdirSync(dataDir).length > 0) throw new NotADataFolderError(dataDir);
    return false;
  }
  const found = Number.parseInt(readFileSync(join(dataDir, 'PG_VERSION'), 'utf8'), 10);
  if (found !== binaries.major) {
    const advice = majorUpgradeAdvice({ dataDir, passwordFile: passwordFileOf(dataDir), found, running: binaries.major, account });
    throw new WrongMajorVersionError(found, binaries.major, advice);
  }
  return true;
}

/**
 * Makes a new data folder. initdb works in a sibling that is renamed when it is complete, so a crash half-way leaves
 * nothing that looks like a data folder; the password file is written first and used again by the next attempt.
 */
export function initialise(dataDir: string, binaries: PostgresBinaries, account: Account | undefined, durable: boolean): void {
  const unfinished = `${dataDir}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { mode: 0o700 });
  giveTo(account, unfinished);
  if (!existsSync(passwordFileOf(dataDir))) writePassword(dataDir);
  // From 17 on PostgreSQL brings its own C.UTF-8, the same on every operating system.
  const locale = binaries.major >= 17 ? ['--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'] : ['--locale=C.UTF-8'];
  const authentication = ['--auth=scram-sha-256', `--pwfile=${passwordFileOf(dataDir)}`];
  const args = ['-D', unfinished, '-U', SUPERUSER, ...authentication, '--encoding=UTF8', ...locale, ...(durable ? [] : ['--no-sync'])];
  runToEnd(binaries.initdb, args, account);
  renameSync(unfinished, dataDir);
}

/** The superuser's password. If its file is gone, a new one is set through PostgreSQL's single-user mode; no server may be running. */
export function passwordOf(dataDir: string, binaries: PostgresBinaries, account: Account | undefined): string {
  const file = passwordFileOf(dataDir);
  if (!existsSync(file)) {
    const password = newPassword();
    runToEnd(binaries.postgres, ['--single', '-D', dataDir, 'postgres'], account, `ALTER USER ${SUPERUSER} PASSWORD '${password}'\n`);
    writePassword(dataDir, password); // last: a crash before leaves no file, so the next start sets another password
  }
  return readFileSync(file, 'utf8').trim();
}

function newPassword(): string {
  return randomBytes(24).toString('base64url'); // nothing in it needs escaping in a URL
}

function writePassword(dataDir: string, password = newPassword()): void {
  writeFileSync(passwordFileOf(dataDir), `${password}\n`, { mode: 0o600 });
}

function runToEnd(command: string, args: string[], account: Account | undefined, input = ''): void {
  const [file, fileArgs] = unprivileged(account, command, args);
  const run = spawnSync(file, fileArgs, { cwd: '/', env: serverEnvironment(), input, encoding: 'utf8' });
  if (run.status === 0) return;
  const said = `${run.stdout ?? ''}${run.stderr ?? ''}`.trim() || run.error?.message || `signal ${run.signal}`;
  throw new EmbeddedError('INITDB_FAILED', `${command} failed:\n${said}`, { cause: run.error });
}
