import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { freePort, type ServerExit } from '@tallystick/embedded';
import { onCleanUp } from './clean-up.js';
import { addressForApp } from './test-database.js';
import { until } from './until.js';

export type AppName = 'api' | 'ingest-bridge' | 'broker-watcher' | 'notary' | 'cli';

/** One line of an app's JSON log; a line that is not JSON becomes `{ message: line }`. */
export interface LogLine {
  level?: string;
  message?: unknown;
  context?: string;
  [field: string]: unknown;
}

export interface StartAppOptions {
  /** another entry than `dist/apps/<name>/src/main.js`, and its arguments */
  main?: string;
  args?: string[];
  /** until /livez answers or the app has ended; 20 s by default */
  startTimeoutMs?: number;
  /** how long `stop` waits before it kills and throws; 15 s by default */
  stopTimeoutMs?: number;
}

/** A built app in a process of its own, seen from outside: HTTP, log lines, exit code. */
export class RunningApp {
  /** stdout and stderr, in order of arrival */
  readonly logs: LogLine[] = [];
  readonly exited: Promise<ServerExit>;
  readonly pid: number;
  private exit: ServerExit | undefined;

  constructor(
    readonly name: AppName,
    /** `http://127.0.0.1:<port>` */
    readonly url: string,
    private readonly child: ChildProcess,
    private readonly stopTimeoutMs: number,
  ) {
    this.pid = child.pid!;
    for (const stream of [child.stdout!, child.stderr!]) createInterface(stream).on('line', (line) => this.logs.push(parseLogLine(line)));
    // `close` and not `exit`: then the last log lines have arrived
    this.exited = new Promise((settle) => child.once('close', (code, signal) => settle((this.exit = { code, signal }))));
  }

  /** Waits for 200 from /readyz. Throws with the end of the log when the app ends or the time is up. */
  async waitForReady(timeoutMs = 20_000): Promise<void> {
    const readyOrOver = async () => this.exit !== undefined || (await answers(`${this.url}/readyz`));
    await until(readyOrOver, { timeoutMs }).catch((cause: unknown) => {
      throw new Error(`${this.name} is not ready after ${timeoutMs} ms. ${this.lastLogs()}`, { cause });
    });
    if (this.exit) throw new Error(`${this.name} ended (${JSON.stringify(this.exit)}) before it was ready. ${this.lastLogs()}`);
  }

  /** Waits until /livez answers or the app has ended, whichever comes first. */
  async waitForLife(timeoutMs: number): Promise<void> {
    const aliveOrOver = async () => this.exit !== undefined || (await answers(`${this.url}/livez`));
    await until(aliveOrOver, { timeoutMs }).catch((cause: unknown) => {
      throw new Error(`${this.name} does not answer after ${timeoutMs} ms. ${this.lastLogs()}`, { cause });
    });
  }

  /** SIGTERM; resolves with the exit code, or null when a signal ended it. Throws if it had to be killed. */
  async stop(): Promise<number | null> {
    this.child.kill('SIGTERM');
    const patience = setTimeout(() => this.child.kill('SIGKILL'), this.stopTimeoutMs);
    const { code, signal } = await this.exited;
    clearTimeout(patience);
    if (signal === 'SIGKILL') throw new Error(`${this.name} did not stop within ${this.stopTimeoutMs} ms of SIGTERM. ${this.lastLogs()}`);
    return code;
  }

  /** SIGKILL; resolves when the process is gone. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exited;
  }

  private lastLogs(): string {
    return `The end of its log:\n${this.logs
      .slice(-20)
      .map((line) => JSON.stringify(line))
      .join('\n')}`;
  }
}

/**
 * Starts `dist/apps/<name>` with this environment alone (plus PATH, HOST and a free PORT), on a test database under its own role. Resolves when it answers, or when it
 * has ended: then look at `exited` and `logs`. It is killed after the spec's file in any case.
 */
export async function startApp(name: AppName, env: Record<string, string>, options: StartAppOptions = {}): Promise<RunningApp> {
  const main = options.main ?? resolve('dist', 'apps', name, 'src', 'main.js');
  if (!existsSync(main)) throw new Error(`${main} is not there. Run \`npm run build\` first.`);
  const port = env['PORT'] ?? String(await freePort());
  const address = env['DATABASE_URL'] && { DATABASE_URL: addressForApp(env['DATABASE_URL'], name) };
  const child = spawn(process.execPath, ['--enable-source-maps', main, ...(options.args ?? [])], {
    env: { PATH: process.env['PATH'], HOST: '127.0.0.1', PORT: port, ...env, ...address },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const app = new RunningApp(name, `http://127.0.0.1:${port}`, child, options.stopTimeoutMs ?? 15_000);
  onCleanUp(() => app.kill());
  await app.waitForLife(options.startTimeoutMs ?? 20_000);
  return app;
}

async function answers(url: string): Promise<boolean> {
  const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
  await response.arrayBuffer();
  return response.ok;
}

function parseLogLine(line: string): LogLine {
  try {
    const parsed: unknown = JSON.parse(line);
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) return parsed as LogLine;
  } catch {
    // a stack trace or a warning of Node: kept as text below
  }
  return { message: line };
}
