import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Where daemons and privileged tools live; an ordinary user's PATH often lacks these. */
const SYSTEM_FOLDERS = ['/usr/sbin', '/usr/local/sbin', '/sbin', '/usr/bin', '/bin', '/opt/homebrew/sbin', '/opt/homebrew/bin'];

/** The full path of an executable on PATH or in the system's folders, undefined if there is none. */
export function findProgram(name: string, path = process.env['PATH'] ?? ''): string | undefined {
  const folders = [...path.split(delimiter).filter((folder) => folder.startsWith('/')), ...SYSTEM_FOLDERS];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

export function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
