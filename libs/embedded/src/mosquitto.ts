import { accessSync, constants, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BROKER_PORT_SETTING, type EmbeddedBroker } from './embedded-broker.js';
import { AlreadyRunningError, FolderNotWritableError, MissingProgramError, PortInUseError, ServerExitedError } from './errors.js';
import { openLogFile } from './log-file.js';
import { mosquittoConf } from './mosquitto-conf.js';
import { assertPortFree, onPort } from './ports.js';
import { endProcess, viewProcess } from './processes.js';
import { findProgram } from './programs.js';
import { ServerProcess } from './server-process.js';
import { giveTo, serverAccount, unprivileged } from './unprivileged.js';

export interface MosquittoOptions {
  /** holds mosquitto.conf, .db, .log and .pid; made on first start */
  dir: string;
  /** 0 = a free one */
  port: number;
  /** lines added to the generated configuration */
  configLines?: string[];
  /** path of the program; found on this machine by default */
  binary?: string;
  log?: (line: string) => void;
}

const NAME = 'Mosquitto';

/** The path of `mosquitto` on this machine, also in /usr/sbin, where Debian puts it and an ordinary user's PATH does not look. */
export function findMosquitto(): string | undefined {
  return findProgram('mosquitto');
}

/** Starts Mosquitto on 127.0.0.1 with a generated configuration; resolves when it takes connections. Throws EmbeddedError. */
export async function startMosquitto(options: MosquittoOptions): Promise<EmbeddedBroker> {
  const binary = options.binary ?? findMosquitto();
  if (!binary)
    throw new MissingProgramError(
      'mosquitto is not installed (Debian and Ubuntu: apt-get install mosquitto; macOS: brew install mosquitto).',
    );
  const dir = usableFolder(options.dir);
  await clearEarlierBroker(dir, options.log ?? (() => undefined));
  if (options.port !== 0) await assertPortFree(options.port, NAME, BROKER_PORT_SETTING);
  return onPort(options.port, async (port) => {
    const server = await launch(binary, dir, port, options.configLines);
    const pidFile = pidFileOf(dir);
    writeFileSync(pidFile, `${server.pid} ${process.pid}\n`);
    const end = async (signal: NodeJS.Signals) => {
      await server.end(signal);
      rmSync(pidFile, { force: true });
    };
    const [stop, kill] = [() => end('SIGTERM'), () => end('SIGKILL')];
    return { kind: 'mosquitto', url: `mqtt://127.0.0.1:${port}`, port, pid: server.pid, stop, kill, exited: server.exited };
  });
}

/** Makes the folder if need be and returns its real path, which then has one spelling on every command line. */
function usableFolder(requested: string): string {
  try {
    mkdirSync(requested, { recursive: true, mode: 0o700 });
    accessSync(requested, constants.R_OK | constants.W_OK | constants.X_OK);
    return realpathSync(requested);
  } catch (cause) {
    throw new FolderNotWritableError(requested, (cause as Error).message, { cause });
  }
}

/** Ours, since Mosquitto writes its own only as a daemon: "<pid> <pid of its starter>". */
function pidFileOf(dir: string): string {
  return join(dir, 'mosquitto.pid');
}

function confFileOf(dir: string): string {
  return join(dir, 'mosquitto.conf');
}

/** Stops a broker of this folder that outlived the program that started it; refuses when that program still runs. */
async function clearEarlierBroker(dir: string, log: (line: string) => void): Promise<void> {
  const [pid, starterPid] = readPids(dir);
  const found = pid ? viewProcess(pid) : undefined;
  if (!pid || !found?.command.endsWith(` -c ${confFileOf(dir)}`)) return;
  if (found.parentPid === starterPid) throw new AlreadyRunningError(NAME, dir, pid, starterPid);
  log(`stopping a Mosquitto (process ${pid}) that outlived the program that started it`);
  if (!(await endProcess(pid, ['SIGTERM', 'SIGKILL'], 10_000))) throw new AlreadyRunningError(NAME, dir, pid, undefined);
}

function readPids(dir: string): number[] {
  try {
    return readFileSync(pidFileOf(dir), 'utf8').trim().split(' ').map(Number);
  } catch {
    return []; // no file: no broker was left behind
  }
}

async function launch(binary: string, dir: string, port: number, configLines?: string[]): Promise<ServerProcess> {
  // Started by root, Mosquitto would drop to its own user, who cannot enter a 0700 home; so it is nobody from the start.
  const account = serverAccount(dir);
  giveTo(account, dir);
  writeFileSync(confFileOf(dir), mosquittoConf({ port, dir, configLines }));
  const [command, args] = unprivileged(account, binary, ['-c', confFileOf(dir)]);
  const logFile = openLogFile(join(dir, 'mosquitto.log'));
  try {
    const server = await ServerProcess.spawn(NAME, command, args, { PATH: process.env['PATH'] }, logFile);
    // "… running" is written when the listener is open; a TCP probe would also find another program's listener
    for (; !/: mosquitto version \S+ running/.test(logFile.text()); await sleep(10)) server.throwIfExited();
    return server;
  } catch (error) {
    const collided = error instanceof ServerExitedError && logFile.text().includes('Address already in use');
    throw collided ? new PortInUseError(port, NAME, BROKER_PORT_SETTING, { cause: error }) : error;
  } finally {
    logFile.close();
  }
}
