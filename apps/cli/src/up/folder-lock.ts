import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EXIT_UNAVAILABLE } from '@tallystick/observability';
import { CliError } from '../problem.js';

/**
 * Makes the data folder, for this user alone, and takes it for this process: two `up` at once would wreck each other's start.
 * Returns what gives it back. A lock whose process is gone is taken over. Throws CliError when another `up` has the folder.
 */
export function lockFolder(dataDir: string): () => void {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const path = join(dataDir, 'up.pid');
  for (;;) {
    try {
      writeFileSync(path, `${process.pid}\n`, { flag: 'wx', mode: 0o600 });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as { code?: string }).code !== 'EEXIST') throw error;
    }
    const pid = Number(readFileSync(path, 'utf8'));
    if (isUp(pid)) {
      throw new CliError(
        `Tallystick already runs on ${dataDir} (process ${pid}). Stop it with \`kill ${pid}\`, or choose another folder with TALLYSTICK_DATA_DIR.`,
        EXIT_UNAVAILABLE,
      );
    }
    rmSync(path, { force: true });
  }
}

/** Whether the process lives and, where that can be seen, is one of ours: numbers are used again. */
function isUp(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0 || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM';
  }
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('main.js');
  } catch {
    return true; // no /proc on this system
  }
}
