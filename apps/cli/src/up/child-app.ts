import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, renameSync, statSync, type WriteStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const FIRST_RESTART_MS = 250;
/** An app that has lived this long starts anew with the shortest delay. */
const HEALTHY_MS = 60_000;
const LARGEST_LOG_BYTES = 10 * 1024 * 1024;
const LONGEST_RESTART_MS = 30_000;
/** Longer than the 10 s that an app gives itself. */
const STOP_LIMIT_MS = 12_000;
/** Schema, port, replaced, configuration: a restart alone meets the same (exit codes of libs/observability). */
const FINAL_EXIT_CODES = [65, 69, 76, 78];
/** What else uses the port or the name, or is wrong with the database, may go away; two that replace each other must not go on for ever. */
const FINAL_RETRIES = 5;
const FINAL_RETRY_MS = 30_000;

export interface ChildAppOptions {
  name: string;
  /** The script; by default the built app of this name. */
  main?: string;
  args?: string[];
  env: NodeJS.ProcessEnv;
  logsDir: string;
  /** A line that a person at the terminal should see. */
  say: (line: string) => void;
  /** Without it the rest makes no sense. Another one is tried again a few times, slowly, after an end that no restart mends. */
  isEssential: boolean;
  finalRetryMs?: number;
  /** It has ended with something that no restart mends, and is not started again. */
  onFinalExit: (problem: string) => void;
}

/** An app in a process of its own, started again when it ends unasked. Its log goes to `<logsDir>/<name>.log`. */
export class ChildApp {
  private child: ChildProcess | undefined;
  private exited: Promise<void> = Promise.resolve();
  private stopping = false;
  private restarts = 0;
  private finalExits = 0;
  private startedAtMs = 0;
  private restartTimer: NodeJS.Timeout | undefined;
  private readonly log: WriteStream;

  constructor(private readonly options: ChildAppOptions) {
    this.log = openLog(join(options.logsDir, `${options.name}.log`));
  }

  get name(): string {
    return this.options.name;
  }

  start(): void {
    const { name, main = mainOf(name), args = [], env } = this.options;
    // Detached: Ctrl-C reaches the supervisor alone, which stops things in order. The IPC channel ends with the supervisor,
    // however that ends, and tells the app to stop.
    const child = spawn(process.execPath, ['--enable-source-maps', main, ...args], {
      env,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.child = child;
    this.startedAtMs = performance.now();
    for (const stream of [child.stdout!, child.stderr!]) createInterface(stream).on('line', (line) => this.onLine(line));
    this.exited = new Promise((resolve) =>
      child.once('close', (code, signal) => {
        resolve();
        this.onExit(code, signal);
      }),
    );
  }

  /** It ended with something that no restart mends, the last time that it ran. */
  get cannotRun(): boolean {
    return this.finalExits > 0;
  }

  /** SIGTERM, or SIGKILL when it takes longer than it may. */
  async stop(): Promise<void> {
    this.stopping = true;
    clearTimeout(this.restartTimer);
    this.child?.kill('SIGTERM');
    const timer = setTimeout(() => this.child?.kill('SIGKILL'), STOP_LIMIT_MS);
    await this.exited;
    clearTimeout(timer);
    await new Promise<void>((resolve) => this.log.end(resolve));
  }

  private onExit(code: number | null, signal: NodeJS.Signals | null): void {
    if (this.stopping) return;
    const { name, say, onFinalExit, isEssential, finalRetryMs = FINAL_RETRY_MS } = this.options;
    if (performance.now() - this.startedAtMs > HEALTHY_MS) this.restarts = this.finalExits = 0;
    if (code !== null && FINAL_EXIT_CODES.includes(code)) {
      const problem = `${name} cannot run (exit code ${code})`;
      if (isEssential || ++this.finalExits > FINAL_RETRIES) return onFinalExit(problem);
      say(`${problem}; everything else goes on. Trying it again in ${finalRetryMs / 1000} s (${this.finalExits} of ${FINAL_RETRIES})`);
      return this.restartIn(finalRetryMs);
    }
    const delayMs = Math.min(LONGEST_RESTART_MS, FIRST_RESTART_MS * 2 ** this.restarts++);
    say(`${name} ended (${signal ?? `exit code ${code}`}), starting it again in ${delayMs / 1000} s`);
    this.restartIn(delayMs);
  }

  private restartIn(delayMs: number): void {
    this.restartTimer = setTimeout(() => this.start(), delayMs);
  }

  private onLine(line: string): void {
    this.log.write(`${line}\n`);
    const entry = parseLine(line);
    if (!entry || entry.level === 'warn' || entry.level === 'error' || entry.level === 'fatal') {
      this.options.say(`${this.options.name}: ${entry ? `${entry.level} ${entry.text}` : line}`);
    }
  }
}

/** Appends; a log that has grown large becomes `<name>.1` first, and the one of that name goes. */
function openLog(path: string): WriteStream {
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > LARGEST_LOG_BYTES) renameSync(path, `${path}.1`);
  return createWriteStream(path, { flags: 'a', mode: 0o600 });
}

export function mainOf(app: string): string {
  return fileURLToPath(new URL(`../../../${app}/src/main.js`, import.meta.url));
}

function parseLine(line: string): { level: string; text: string } | undefined {
  try {
    const { level, message, reason, error } = JSON.parse(line) as {
      level: string;
      message: unknown;
      reason?: unknown;
      error?: { message?: string };
    };
    const cause = reason ?? error?.message;
    return { level, text: typeof cause === 'string' && cause !== message ? `${String(message)}: ${cause}` : String(message) };
  } catch {
    return undefined;
  }
}
