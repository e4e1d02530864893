import { existsSync, mkdtempSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The variant of libfaketime for programs with several threads. */
const LIBRARY = join('faketime', 'libfaketimeMT.so.1');

/** libfaketime as Linux distributions install it (package `faketime`; Debian has a folder for each architecture), or undefined. */
export function findFaketime(): string | undefined {
  if (process.platform !== 'linux') return undefined;
  const folders = ['/usr/lib', '/usr/lib64', ...readdirSync('/usr/lib').map((name) => join('/usr/lib', name))];
  return folders.map((folder) => join(folder, LIBRARY)).find((path) => existsSync(path));
}

/** The wall clock of the processes that are started with its `env`, moved while they run. Their monotonic clock is the machine's. */
export class FakeClock {
  private readonly file = join(mkdtempSync(join(tmpdir(), 'tallystick-clock-')), 'offset');
  private aheadS = 0;

  /** `library` as findFaketime says. */
  constructor(private readonly library: string) {
    this.set(0);
  }

  get env(): Record<string, string> {
    return { LD_PRELOAD: this.library, FAKETIME_TIMESTAMP_FILE: this.file, FAKETIME_NO_CACHE: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1' };
  }

  /** Unix ms on this clock. */
  nowMs(): number {
    return Date.now() + this.aheadS * 1000;
  }

  /** Goes so many whole seconds ahead of the machine's clock, or behind it when negative. */
  set(aheadS: number): void {
    this.aheadS = aheadS;
    // Renamed into place: the file is read at every look at the clock, and must never be found half-written.
    writeFileSync(`${this.file}.next`, `${aheadS < 0 ? '' : '+'}${aheadS}\n`);
    renameSync(`${this.file}.next`, this.file);
  }

  /** Jumps by so many whole seconds from where it is. */
  jump(byS: number): void {
    this.set(this.aheadS + byS);
  }
}
