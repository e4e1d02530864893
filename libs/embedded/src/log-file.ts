import { closeSync, openSync, readSync, renameSync, fstatSync, statSync } from 'node:fs';

const ROTATE_ABOVE_BYTES = 10 * 1024 * 1024;

/**
 * A server's log on disk, appended to. A file and not a pipe: a full pipe would block the server whenever this process is
 * busy, and a broken one would lose the log of a server that outlives us.
 */
export class LogFile {
  private readonly startedAtBytes: number;

  constructor(
    readonly path: string,
    readonly fd: number,
  ) {
    this.startedAtBytes = fstatSync(fd).size;
  }

  /** What was written since this start, at most its last 64 KiB. */
  text(): string {
    const sizeBytes = fstatSync(this.fd).size;
    const from = Math.max(this.startedAtBytes, sizeBytes - 65536);
    const buffer = Buffer.alloc(sizeBytes - from);
    return buffer.toString('utf8', 0, readSync(this.fd, buffer, 0, buffer.length, from));
  }

  lastLines(count: number): string[] {
    return this.text().trimEnd().split('\n').slice(-count);
  }

  close(): void {
    closeSync(this.fd);
  }
}

/** Opens a log for appending, readable by its owner only; a big one is set aside as `<path>.1` first. */
export function openLogFile(path: string): LogFile {
  const existing = statSync(path, { throwIfNoEntry: false });
  if (existing && existing.size > ROTATE_ABOVE_BYTES) renameSync(path, `${path}.1`);
  return new LogFile(path, openSync(path, 'a+', 0o600));
}
