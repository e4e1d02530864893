import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** What the operating system tells every user about a process. */
export interface ProcessView {
  parentPid: number;
  /** the command line, its arguments joined by spaces */
  command: string;
}

/** Whether a process with this id exists (a zombie counts; a process of another user does too). */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The process with this id, undefined if there is none. Reads /proc, since slim images have no `ps`. */
export function viewProcess(pid: number): ProcessView | undefined {
  try {
    if (process.platform === 'linux') {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      // "pid (name) state ppid …"; the name may itself hold blanks and parentheses
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const parentPid = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      return command ? { parentPid, command } : undefined; // a zombie has no command line
    }
    const line = execFileSync('ps', ['-ww', '-o', 'ppid=,args=', '-p', String(pid)], { encoding: 'utf8' }).trim();
    return { parentPid: Number.parseInt(line, 10), command: line.replace(/^\d+\s+/, '') };
  } catch {
    return undefined;
  }
}

/** Ends a process by each signal in turn, waiting up to `patienceMs` after each. Returns whether it is gone. */
export async function endProcess(pid: number, signals: NodeJS.Signals[], patienceMs: number): Promise<boolean> {
  for (const signal of signals) {
    try {
      process.kill(pid, signal);
    } catch {
      return !viewProcess(pid);
    }
    for (const until = Date.now() + patienceMs; Date.now() < until; await sleep(10)) {
      if (!viewProcess(pid)) return true;
    }
  }
  return false;
}
