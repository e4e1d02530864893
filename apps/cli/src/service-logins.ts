import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import type { Statements } from '@tallystick/access';
import { SERVICE_ROLES } from '@tallystick/persistence';

export type Service = keyof typeof SERVICE_ROLES;

/** Of PostgreSQL's own SCRAM verifiers. */
const SCRAM_ITERATIONS = 4096;

export const isService = (name: string): name is Service => Object.hasOwn(SERVICE_ROLES, name);

/** The database login of a service. Not the role itself: what that may do is the migrations' business, who logs in the operator's. */
export const loginOf = (service: Service) => `${SERVICE_ROLES[service]}_login`;

/**
 * Makes the database login of each service, a member of its role alone, or gives one that is there this password: printable ASCII
 * without spaces. What is sent, and so what a log of statements can hold, is SCRAM's verifier and not the password.
 */
export async function makeServiceLogins(run: Statements, passwords: ReadonlyMap<Service, string>): Promise<void> {
  // One at a time, as for migrations: two that alter the same role fail.
  await run(`SELECT pg_advisory_xact_lock(hashtextextended('tallystick.service_logins', 0))`);
  for (const [service, password] of passwords) {
    const login = loginOf(service);
    const [found] = await run('SELECT FROM pg_roles WHERE rolname = $1', [login]);
    await run(`${found ? 'ALTER' : 'CREATE'} ROLE ${login} LOGIN PASSWORD '${scramVerifier(password)}'`);
    await run(`GRANT ${SERVICE_ROLES[service]} TO ${login}`);
    // The role itself was the login of `tallystick up` once.
    await run(`ALTER ROLE ${SERVICE_ROLES[service]} NOLOGIN PASSWORD NULL`);
  }
}

/** What PostgreSQL keeps of a password (RFC 5803, RFC 5802 section 3), as `psql \password` sends it. */
function scramVerifier(password: string, salt = randomBytes(16)): string {
  const salted = pbkdf2Sync(password, salt, SCRAM_ITERATIONS, 32, 'sha256');
  const keyed = (name: string) => createHmac('sha256', salted).update(name).digest();
  const storedKey = createHash('sha256').update(keyed('Client Key')).digest('base64');
  return `SCRAM-SHA-256$${SCRAM_ITERATIONS}:${salt.toString('base64')}$${storedKey}:${keyed('Server Key').toString('base64')}`;
}
