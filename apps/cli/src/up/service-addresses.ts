import { randomBytes } from 'node:crypto';
import { SERVICE_ROLES } from '@tallystick/persistence';
import { inOwnerTransaction } from '../owner-transaction.js';

/**
 * Addresses under which the apps use the embedded database: each with its own role, so that it can do no more than its task needs.
 * The passwords are of this start alone.
 */
export async function serviceAddresses(ownerUrl: string): Promise<(app: string) => string> {
  const passwords = new Map(
    Object.entries(SERVICE_ROLES).map(([app, role]) => [app, { role, password: randomBytes(24).toString('base64url') }]),
  );
  await inOwnerTransaction(ownerUrl, 'tallystick-up', async (run) => {
    for (const { role, password } of passwords.values()) await run(`ALTER ROLE ${role} LOGIN PASSWORD '${password}'`);
  });
  return (app) => {
    const login = passwords.get(app);
    if (!login) return ownerUrl;
    const url = new URL(ownerUrl);
    url.username = login.role;
    url.password = login.password;
    return url.href;
  };
}
