import { type ChildProcess, spawn } from 'node:child_process';
import { MissingProgramError, ServerExitedError } from './errors.js';
import type { LogFile } from './log-file.js';

export interface ServerExit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** Ended when this process exits without stopping them; a SIGKILL of this process leaves them as orphans. */
const running = new Set<ChildProcess>();
process.once('exit', () => running.forEach((child) => child.kill('SIGINT')));

/** A server that runs as our child and writes to a log file. */
export class ServerProcess {
  readonly pid: number;
  readonly exited: Promise<ServerExit>;
  private exit: ServerExit | undefined;

  private constructor(
    private readonly name: string,
    private readonly child: ChildProcess,
    readonly log: LogFile,
  ) {
    this.pid = child.pid!;
    running.add(child);
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        running.delete(child);
        this.exit = { code, signal };
        resolve(this.exit);
      });
    });
  }

  /** Starts the server. Throws MissingProgramError if its file cannot be run. */
  static async spawn(name: string, command: string, args: string[], env: NodeJS.ProcessEnv, log: LogFile): Promise<ServerProcess> {
    // detached: a process group of its own, so that Ctrl-C reaches the supervisor alone, which stops its clients first
    const child = spawn(command, args, { cwd: '/', env, detached: true, stdio: ['ignore', log.fd, log.fd] });
    if (child.pid === undefined) {
      const cause = await new Promise<Error>((resolve) => child.once('error', resolve));
      throw new MissingProgramError(`${name} cannot be started: ${cause.message}`, { cause });
    }
    return new ServerProcess(name, child, log);
  }

  get hasExited(): boolean {
    return this.exit !== undefined;
  }

  /** Sends the signal and waits for the end; at once if it has ended. */
  async end(signal: NodeJS.Signals): Promise<void> {
    if (!this.hasExited) this.child.kill(signal);
    await this.exited;
  }

  /** Throws ServerExitedError with the last log lines if the server has ended. */
  throwIfExited(): void {
    if (!this.exit) return;
    const how = this.exit.signal ? `signal ${this.exit.signal}` : `exit code ${this.exit.code}`;
    throw new ServerExitedError(this.name, how, this.log.path, this.log.lastLines(15));
  }
}
