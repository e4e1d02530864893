// CPU time and memory of processes, read from /proc (Linux). Elsewhere nothing is measured, and the report says so.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { clearInterval, setInterval } from 'node:timers';

const IS_LINUX = existsSync('/proc/self/stat');
const TICKS_PER_S = IS_LINUX ? Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' })) : 100;
const SAMPLE_EVERY_MS = 100;

/** User and system time of a process in s; with `reaped`, that of its ended children too. 0 when it is gone. */
function cpuSeconds(pid, reaped = false) {
  const stat = read(`/proc/${pid}/stat`);
  if (!stat) return 0;
  // The command, in parentheses, may hold blanks: fields are counted behind it. utime is the 14th of the line, cstime the 17th.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(11, reaped ? 15 : 13).map(Number);
  return ticks.reduce((sum, part) => sum + part, 0) / TICKS_PER_S;
}

/** A PostgreSQL server with its backends, those that ended included, without the backends in `except`. */
export function serverCpuSeconds(/** @type {number} */ pid, /** @type {Set<number>} */ except = new Set()) {
  const children = (read(`/proc/${pid}/task/${pid}/children`) ?? '').trim().split(' ').filter(Boolean).map(Number);
  return children.filter((child) => !except.has(child)).reduce((sum, child) => sum + cpuSeconds(child), cpuSeconds(pid, true));
}

export function processCpuSeconds(/** @type {number[]} */ pids) {
  return pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
}

/** Of all processes of the machine, so that a benchmark can tell what others took meanwhile. */
export function machineCpuSeconds() {
  // user, nice, system, irq, softirq and steal: proc_stat(5).
  const fields =
    /^cpu +(.*)$/m
      .exec(read('/proc/stat') ?? '')?.[1]
      .split(' ')
      .map(Number) ?? [];
  return [0, 1, 2, 5, 6, 7].reduce((sum, at) => sum + (fields[at] ?? 0), 0) / TICKS_PER_S;
}

/** Resident memory in bytes: now, and the most so far. Undefined when the process is gone. */
export function memoryOf(/** @type {number} */ pid) {
  const status = read(`/proc/${pid}/status`);
  const bytes = (name) => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status ?? '')?.[1]);
  return status && Number.isFinite(bytes('VmHWM')) ? { now: bytes('VmRSS'), peak: bytes('VmHWM') } : undefined;
}

/** Samples of growing counters, so that what they grew between two moments can be told afterwards. */
export class CpuSampler {
  constructor(/** @type {Record<string, () => number>} */ groups, /** @type {number[]} */ consumers) {
    this.groups = groups;
    this.consumers = consumers;
    this.samples = [];
    /** Peak memory in bytes of the largest consumer. */
    this.peakBytes = undefined;
    this.sample();
    this.timer = setInterval(() => this.sample(), SAMPLE_EVERY_MS);
  }

  sample() {
    const values = Object.fromEntries(Object.entries(this.groups).map(([name, measure]) => [name, measure()]));
    this.samples.push({ atMs: Date.now(), values });
    for (const pid of this.consumers) {
      const memory = memoryOf(pid);
      if (memory) this.peakBytes = Math.max(this.peakBytes ?? 0, memory.peak);
    }
  }

  stop() {
    clearInterval(this.timer);
    this.sample();
  }

  /** CPU seconds by group between two moments in Unix ms; undefined where there is no /proc. */
  between(/** @type {number} */ fromMs, /** @type {number} */ toMs) {
    if (!IS_LINUX) return undefined;
    return Object.fromEntries(Object.keys(this.groups).map((name) => [name, this.valueAt(name, toMs) - this.valueAt(name, fromMs)]));
  }

  valueAt(name, atMs) {
    const after = this.samples.findIndex((sample) => sample.atMs >= atMs);
    if (after <= 0) return (after === 0 ? this.samples[0] : this.samples.at(-1)).values[name];
    const [left, right] = [this.samples[after - 1], this.samples[after]];
    const share = (atMs - left.atMs) / (right.atMs - left.atMs);
    return left.values[name] + share * (right.values[name] - left.values[name]);
  }
}

function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // not Linux, or the process has ended
  }
}
