import { join, resolve } from 'node:path';
import type { Statements } from '@tallystick/access';
import { DatabaseSettings, loadConfig } from '@tallystick/config';
import { embeddedPostgresUrl } from '@tallystick/embedded';
import { EXIT_UNAVAILABLE } from '@tallystick/observability';
import { inOwnerTransaction } from '../owner-transaction.js';
import { CliError } from '../problem.js';
import { UpConfig } from '../up/up.config.js';

/**
 * Runs statements in one transaction, on the database that the environment names or else on the one of `tallystick up` on this machine.
 * Throws CliError when there is none, or when it cannot be reached or has no schema.
 */
export async function inOwnDatabase<T>(work: (run: Statements) => Promise<T>): Promise<T> {
  try {
    return await inOwnerTransaction(address(), 'tallystick-keys', work);
  } catch (error) {
    const { message, code } = error as Error & { code?: string };
    if (code === '42P01')
      throw new CliError('The database has no keys yet. Run `tallystick migrate` first.', EXIT_UNAVAILABLE, { cause: error });
    throw new CliError(`The database cannot be used: ${message || code}. Is it up, and is DATABASE_URL right?`, EXIT_UNAVAILABLE, {
      cause: error,
    });
  }
}

function address(): string {
  const { env } = process;
  if (env['DATABASE_URL'] || env['DATABASE_URL_FILE'] || env['DATABASE_HOST']) return loadConfig(DatabaseSettings, env).connectionUrl;
  const { dataDir, postgresPort } = loadConfig(UpConfig, env);
  const url = embeddedPostgresUrl(join(resolve(dataDir), 'postgres'), postgresPort);
  if (url !== undefined) return url;
  throw new CliError(
    `There is no database of \`tallystick up\` in ${resolve(dataDir)}. Start it (\`npm start\`), or set DATABASE_URL.`,
    EXIT_UNAVAILABLE,
  );
}
