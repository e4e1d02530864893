// A contestant in a process of its own.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { clearTimeout } from 'node:timers';

const LAST_LINES = 5;
const LAST_CHARACTERS = 400;
const STOP_LIMIT_MS = 20_000;
const running = new Set();
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')));

export class ConsumerProcess {
  /** Starts `script` with this environment alone. */
  constructor(/** @type {string} */ script, /** @type {Record<string, string>} */ env) {
    const child = spawn(process.execPath, [script], { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    this.script = script;
    this.child = child;
    this.exit = undefined;
    this.lastLines = [];
    running.add(child);
    for (const stream of [child.stdout, child.stderr]) createInterface(stream).on('line', (line) => this.keep(line));
    this.exited = new Promise((resolve) =>
      child.once('exit', (code, signal) => {
        running.delete(child);
        this.exit = { code, signal };
        resolve(this.exit);
      }),
    );
  }

  get pid() {
    return this.child.pid;
  }

  keep(line) {
    this.lastLines.push(line);
    if (this.lastLines.length > LAST_LINES) this.lastLines.shift();
  }

  /** Throws with the end of its output when it has ended although nobody asked it to. */
  assertRunning() {
    if (!this.exit) return;
    const how = this.exit.signal ?? `code ${this.exit.code}`;
    throw new Error(`${this.script} ended (${how}): ${this.lastLines.join(' | ').slice(-LAST_CHARACTERS)}`);
  }

  /** The next message it sends; throws when it ends or the time is up. */
  async message(/** @type {number} */ limitMs) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${this.script}: nothing heard for ${limitMs / 1000} s`)), limitMs);
    });
    const ended = this.exited.then(() => this.assertRunning());
    try {
      return await Promise.race([new Promise((resolve) => this.child.once('message', resolve)), ended, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  send(message) {
    this.child.send(message);
  }

  async kill() {
    this.child.kill('SIGKILL');
    await this.exited;
  }

  /** SIGTERM, and SIGKILL for one that is deaf to it. */
  async stop() {
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_LIMIT_MS);
    await this.exited;
    clearTimeout(timer);
  }
}
