import { readFileSync } from 'node:fs';
import { DatabaseSettings, loadConfig } from '@tallystick/config';
import { EXIT_UNAVAILABLE } from '@tallystick/observability';
import { createDataSource, migrate, SERVICE_ROLES } from '@tallystick/persistence';
import { Command } from 'commander';
import { inOwnerTransaction } from '../owner-transaction.js';
import { CliError } from '../problem.js';
import { isService, loginOf, makeServiceLogins, type Service } from '../service-logins.js';

/** sysexits.h EX_USAGE: what was typed makes no sense. */
const EXIT_USAGE = 64;
/** What SASL would prepare (RFC 4013) is left out: the same bytes on both sides. */
const PASSWORD = /^[!-~]{1,200}$/;

const HELP = `
The database is the one of DATABASE_URL (or DATABASE_HOST, _PORT, _NAME, _USER, _PASSWORD).

--login makes the login of a service (${Object.keys(SERVICE_ROLES).join(', ')}), named
${loginOf('api')} and so on, a member of the service's role alone, with the
password that the file holds. Run again, it sets the password anew.

Examples:
  $ tallystick migrate
  $ tallystick migrate --login api=/run/secrets/database_api`;

export function migrateCommand(): Command {
  return new Command('migrate')
    .description('Make or upgrade the database schema. Safe to run at any time, also by several at once.')
    .option('--login <service=file>', 'also make the database login of a service; may be repeated', collect, [])
    .addHelpText('after', HELP)
    .action(async ({ login }: { login: string[] }) => {
      // First, so that a file that cannot be read is known before anything is changed.
      const passwords = readPasswords(login);
      const { connectionUrl } = loadConfig(DatabaseSettings, process.env);
      const applied = await migrateDatabase(connectionUrl);
      for (const name of applied) process.stdout.write(`applied ${name}\n`);
      process.stdout.write(applied.length === 0 ? 'the schema is up to date\n' : `${applied.length} applied, the schema is up to date\n`);
      if (passwords.size === 0) return;
      await makeLogins(connectionUrl, passwords);
      for (const service of passwords.keys()) process.stdout.write(`login ${loginOf(service)} is ready\n`);
    });
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

/** The passwords of `<service>=<file>`, by service; every problem at once. Throws CliError, which never quotes a password. */
function readPasswords(typed: string[]): Map<Service, string> {
  const passwords = new Map<Service, string>();
  const problems: string[] = [];
  for (const text of typed) {
    const [service = '', file] = text.split(/=(.*)/s);
    if (!isService(service) || !file) problems.push(`--login must be <service>=<file>, of ${Object.keys(SERVICE_ROLES).join(', ')}`);
    else if (passwords.has(service)) problems.push(`--login names ${service} twice`);
    else passwords.set(service, readPassword(file, problems));
  }
  if (problems.length > 0) throw new CliError(problems.join('\n'), EXIT_USAGE);
  return passwords;
}

function readPassword(file: string, problems: string[]): string {
  try {
    const password = readFileSync(file, 'utf8').replace(/\r?\n$/, '');
    if (!PASSWORD.test(password)) problems.push(`--login: ${file} must hold a password of 1 to 200 printable ASCII characters, no spaces`);
    return password;
  } catch (error) {
    problems.push(`--login: ${(error as Error).message}`);
    return '';
  }
}

async function makeLogins(url: string, passwords: ReadonlyMap<Service, string>): Promise<void> {
  try {
    await inOwnerTransaction(url, 'tallystick migrate', (run) => makeServiceLogins(run, passwords));
  } catch (error) {
    const { message } = error as Error;
    throw new CliError(
      `The logins cannot be made: ${message}. Let an administrator make them, or give the login of \`migrate\` CREATEROLE.`,
      EXIT_UNAVAILABLE,
      { cause: error },
    );
  }
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
