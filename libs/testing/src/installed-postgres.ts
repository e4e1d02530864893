import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { findPostgres } from '@tallystick/embedded';

export interface InstalledPostgres {
  /** major version */
  version: number;
  /** for startEmbeddedPostgres; the embedded one has none */
  binDir?: string;
}

/** Where Debian's and the PostgreSQL project's packages install, one folder per major version. */
const PACKAGED = '/usr/lib/postgresql';

/** Every PostgreSQL from 15 on of this machine: the embedded one first, then the packaged ones in order of version. */
export async function installedPostgres(): Promise<InstalledPostgres[]> {
  const embedded = { version: (await findPostgres()).major };
  const versions = existsSync(PACKAGED) ? readdirSync(PACKAGED).map(Number) : [];
  const packaged = versions
    .filter((version) => version >= 15 && existsSync(join(PACKAGED, String(version), 'bin', 'initdb')))
    .sort((a, b) => a - b)
    .map((version) => ({ version, binDir: join(PACKAGED, String(version), 'bin') }));
  return [embedded, ...packaged];
}
