import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The lines of PostgreSQL's postmaster.pid that we use (src/include/utils/pidfile.h; the same since version 10). */
export interface PostmasterFile {
  pid: number;
  port: number | undefined;
  /** `starting`, `stopping`, `ready` or `standby`; undefined while the file is being written */
  status: string | undefined;
}

export function parsePostmasterFile(text: string): PostmasterFile | undefined {
  const lines = text.split('\n').map((line) => line.trim());
  const pid = Math.abs(Number(lines[0])); // negative: a stand-alone backend
  if (!Number.isSafeInteger(pid) || pid === 0) return undefined;
  return { pid, port: Number(lines[3]) || undefined, status: lines[7] || undefined };
}

/** The data folder's postmaster.pid, undefined if there is none: then no server runs on the folder. */
export function readPostmasterFile(dataDir: string): PostmasterFile | undefined {
  try {
    return parsePostmasterFile(readFileSync(join(dataDir, 'postmaster.pid'), 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
