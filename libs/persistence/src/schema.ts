import type { DataSource } from 'typeorm';
import { limitedQuery } from './limited-query.js';
import { migrations } from './migrations/index.js';

/** Of two statements on the catalogue and on a few rows: a probe asks them all the time. */
const ANSWER_LIMIT_MS = 5_000;

/** The database's schema does not fit this version; a restart will not mend it. */
export class SchemaError extends Error {
  readonly code = 'SCHEMA_OUTDATED';
  readonly exitCode = 65;

  constructor(readonly missing: readonly string[]) {
    super(`The database schema is older than this version needs (missing: ${missing.join(', ')}). Run \`tallystick migrate\` first.`);
    this.name = 'SchemaError';
  }
}

/** Names of all migrations of this version, in order. */
export function expectedMigrations(): string[] {
  return migrations.map((migration) => migration.name);
}

/**
 * Applies what is pending and returns the names, each migration in a transaction of its own. Two migrators at once are
 * safe: the second waits for the first on an advisory lock and finds nothing left to do.
 */
export async function migrate(dataSource: DataSource): Promise<string[]> {
  const lockHolder = dataSource.createQueryRunner();
  await lockHolder.connect();
  try {
    await lockHolder.query(`SELECT pg_advisory_lock(hashtextextended('tallystick.migrate', 0))`);
    const applied = await dataSource.runMigrations({ transaction: 'each' });
    await lockHolder.query(`SELECT pg_advisory_unlock(hashtextextended('tallystick.migrate', 0))`);
    return applied.map((migration) => migration.name);
  } finally {
    await lockHolder.release();
  }
}

/** Throws SchemaError when a migration of this version is missing. A newer schema is accepted: upgrades roll. */
export async function assertSchema(dataSource: DataSource): Promise<void> {
  const present = await appliedMigrations(dataSource);
  const missing = expectedMigrations().filter((name) => !present.has(name));
  if (missing.length > 0) throw new SchemaError(missing);
}

async function appliedMigrations(dataSource: DataSource): Promise<Set<string>> {
  const ask = <Row>(text: string) => limitedQuery<Row>(dataSource, text, ANSWER_LIMIT_MS);
  const [table] = await ask<{ present: boolean }>(`SELECT to_regclass('migrations') IS NOT NULL AS present`);
  if (!table!.present) return new Set();
  const rows = await ask<{ name: string }>(`SELECT name FROM migrations`);
  return new Set(rows.map((row) => row.name));
}
