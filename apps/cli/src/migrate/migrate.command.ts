import { DatabaseSettings, loadConfig } from '@tallystick/config';
import { EXIT_UNAVAILABLE } from '@tallystick/observability';
import { createDataSource, migrate } from '@tallystick/persistence';
import { Command } from 'commander';
import { CliError } from '../problem.js';

export function migrateCommand(): Command {
  return new Command('migrate')
    .description('Make or upgrade the database schema. Safe to run at any time, also by several at once.')
    .addHelpText('after', '\nThe database is the one of DATABASE_URL (or DATABASE_HOST, _PORT, _NAME, _USER, _PASSWORD).')
    .action(async () => {
      const applied = await migrateDatabase(loadConfig(DatabaseSettings, process.env).connectionUrl);
      for (const name of applied) process.stdout.write(`applied ${name}\n`);
      process.stdout.write(applied.length === 0 ? 'the schema is up to date\n' : `${applied.length} applied, the schema is up to date\n`);
    });
}

/** Brings the schema up to date and returns the names of the migrations applied. Throws CliError when the database cannot be reached or is not prepared. */
export async function migrateDatabase(url: string): Promise<string[]> {
  const dataSource = createDataSource(url, { poolSize: 2, applicationName: 'tallystick migrate' });
  try {
    await dataSource.initialize();
  } catch (error) {
    const { message, code } = error as Error & { code?: string };
    throw new CliError(
      `The database cannot be reached: ${message || code}. Is PostgreSQL up, and is DATABASE_URL right?`,
      EXIT_UNAVAILABLE,
      { cause: error },
    );
  }
  try {
    return await migrate(dataSource);
  } catch (error) {
    // A migration that knows what an administrator has to do first says so in the hint.
    const { message, hint } = error as Error & { hint?: string };
    if (hint === undefined) throw error;
    throw new CliError(`The schema cannot be brought up to date: ${message}. ${hint}`, EXIT_UNAVAILABLE, { cause: error });
  } finally {
    await dataSource.destroy();
  }
}
