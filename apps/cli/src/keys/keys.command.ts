import { userInfo } from 'node:os';
import {
  type Actor,
  createApiKey,
  listApiKeys,
  revokeApiKey,
  type Scope,
  SCOPES,
  scopesBeyondTenant,
  type StoredApiKey,
} from '@tallystick/access';
import { Command } from 'commander';
import { CliError } from '../problem.js';
import { inOwnDatabase } from './own-database.js';

/** sysexits.h EX_USAGE. */
const EXIT_USAGE = 64;
/** sysexits.h EX_NOINPUT: what was named is not there. */
const EXIT_NOT_FOUND = 66;
const MOST_LISTED = 1000;

const HELP = `
The database is that of DATABASE_URL (or DATABASE_HOST, …), as its owner or
another role that may write api_keys; without one, that of \`tallystick up\` on
this machine (TALLYSTICK_DATA_DIR, EMBEDDED_POSTGRES_PORT).

Scopes: ${SCOPES.join(', ')}.

Examples:
  $ export TALLYSTICK_API_KEY=$(tallystick keys create --label me)
  $ tallystick keys create --label "plant 1" --tenant factory1 --scopes telemetry:read,export --days 365
  $ tallystick keys revoke Q3vT8mZk1LxB`;

interface CreateArguments {
  label: string;
  tenant?: string;
  scopes?: string;
  days?: string;
}

/** `tallystick keys`: who may ask the API for what. */
export function keysCommand(): Command {
  const keys = new Command('keys').description('Make, list and revoke the keys of the API.').addHelpText('after', HELP);
  keys
    .command('create')
    .description('make a key and print it; it is shown only now')
    .requiredOption('--label <text>', 'for people: whose it is, what for')
    .option('--tenant <id>', 'the one tenant that it sees (default: all, a key of the platform)')
    .option('--scopes <list>', 'what it may do, with commas between (default: all that such a key can)')
    .option('--days <n>', 'how long it works (default: until it is revoked)')
    .action(create);
  keys.command('list').description('list keys, newest first').action(list);
  keys.command('revoke').argument('<key-id>', 'the 12 characters after tly_').description('end a key and its sessions').action(revoke);
  return keys;
}

async function create(typed: CreateArguments): Promise<void> {
  const wanted = parseKey(typed);
  const { key, keyId, scopes } = await inOwnDatabase((run) => createApiKey(run, wanted, actor()));
  // The key alone on the standard output: `export TALLYSTICK_API_KEY=$(…)`.
  process.stderr.write(`key ${keyId}: ${scopes.join(', ')}\n`);
  process.stdout.write(`${key}\n`);
}

async function list(): Promise<void> {
  const keys = await inOwnDatabase((run) => listApiKeys(run, { limit: MOST_LISTED }));
  if (keys.length === 0) process.stderr.write('there are no keys yet\n');
  for (const key of keys) process.stdout.write(`${lineOf(key)}\n`);
}

async function revoke(keyId: string): Promise<void> {
  const found = await inOwnDatabase((run) => revokeApiKey(run, keyId, actor()));
  if (!found) throw new CliError(`There is no key ${keyId}. \`tallystick keys list\` shows those that there are.`, EXIT_NOT_FOUND);
  process.stderr.write(`key ${keyId} is revoked\n`);
}

function parseKey({ label, tenant, scopes: listed, days }: CreateArguments) {
  const tenantId = tenant ?? null;
  const problems: string[] = [];
  if (label.length === 0 || label.length > 100) problems.push('--label must have 1 to 100 characters');
  if (tenant !== undefined && (tenant.length === 0 || tenant.length > 100)) problems.push('--tenant must have 1 to 100 characters');
  const named = listed?.split(',').map((scope) => scope.trim());
  for (const scope of named ?? []) {
    if (!(SCOPES as readonly string[]).includes(scope))
      problems.push(`--scopes knows no ${JSON.stringify(scope)}; it knows ${SCOPES.join(', ')}`);
  }
  const beyond = scopesBeyondTenant({ tenantId, scopes: SCOPES });
  const scopes = [...new Set((named as Scope[] | undefined) ?? SCOPES.filter((scope) => !beyond.includes(scope)))];
  const tooWide = scopes.filter((scope) => beyond.includes(scope));
  if (tooWide.length > 0) problems.push(`--scopes must not hold ${tooWide.join(', ')} for a key of one tenant`);
  if (days !== undefined && !/^[1-9]\d{0,4}$/.test(days)) problems.push(`--days must be a whole number from 1 to 99999 (got "${days}")`);
  if (problems.length > 0) throw new CliError(problems.join('\n'), EXIT_USAGE);
  return { label, tenantId, scopes, expiresAt: days === undefined ? null : new Date(Date.now() + Number(days) * 86_400_000) };
}

function lineOf({ keyId, tenantId, label, createdAt, lastUsedAt, expiresAt, revokedAt, scopes }: StoredApiKey): string {
  const ended = revokedAt ?? (expiresAt !== null && expiresAt.getTime() <= Date.now() ? expiresAt : null);
  const state = ended ? `ended ${ended.toISOString()}` : expiresAt ? `until ${expiresAt.toISOString()}` : 'works';
  const used = lastUsedAt ? `used ${lastUsedAt.toISOString()}` : 'never used';
  return [keyId, tenantId ?? '(platform)', state, used, `made ${createdAt.toISOString()}`, scopes.join(','), JSON.stringify(label)].join(
    '  ',
  );
}

function actor(): Actor {
  return { name: `local:${userInfo().username}` };
}
