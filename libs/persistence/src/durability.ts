import type { DataSource } from 'typeorm';

const OLDEST_MAJOR = 15;
const REQUIRED = ['fsync', 'full_page_writes', 'synchronous_commit'] as const;

/** The server may lose what it has committed, so "acknowledged" would be a lie. */
export class DurabilityError extends Error {
  readonly code = 'DATABASE_NOT_DURABLE';
  readonly exitCode = 78;

  constructor(readonly off: readonly string[]) {
    super(
      `PostgreSQL runs with ${off.map((name) => `${name} = off`).join(', ')}: it may lose what it has committed. ` +
        `Turn it on, or set DATABASE_ALLOW_DATA_LOSS=true to accept the loss.`,
    );
    this.name = 'DurabilityError';
  }
}

/** The server cannot hold what we store, whatever we do. */
export class UnsuitableServerError extends Error {
  readonly code = 'DATABASE_UNSUITABLE';
  readonly exitCode = 78;
}

/** Throws UnsuitableServerError for a PostgreSQL older than 15 or a database that is not in UTF-8, which cannot hold every topic. */
export async function assertSuitable(dataSource: DataSource): Promise<void> {
  const [server] = await dataSource.query<{ version: string; encoding: string }[]>(
    `SELECT current_setting('server_version_num') AS version, current_setting('server_encoding') AS encoding`,
  );
  const major = Math.floor(Number(server!.version) / 10_000);
  if (major < OLDEST_MAJOR) throw new UnsuitableServerError(`PostgreSQL ${major} is too old: ${OLDEST_MAJOR} or newer is needed.`);
  if (server!.encoding !== 'UTF8') {
    throw new UnsuitableServerError(
      `The database is in ${server!.encoding}. Make one with: CREATE DATABASE tallystick ENCODING 'UTF8' TEMPLATE template0`,
    );
  }
}

/** Throws DurabilityError when fsync, full_page_writes or synchronous_commit is off for this role. */
export async function assertDurability(dataSource: DataSource): Promise<void> {
  const rows = await dataSource.query<{ name: string; setting: string }[]>(
    `SELECT name, current_setting(name) AS setting FROM unnest($1::text[]) AS name`,
    [REQUIRED],
  );
  const off = rows.filter((row) => row.setting === 'off').map((row) => row.name);
  if (off.length > 0) throw new DurabilityError(off);
}
