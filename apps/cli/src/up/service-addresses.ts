import { randomBytes } from 'node:crypto';
import { SERVICE_ROLES } from '@tallystick/persistence';
import { inOwnerTransaction } from '../owner-transaction.js';
import { isService, loginOf, makeServiceLogins, type Service } from '../service-logins.js';

/**
 * Addresses under which the apps use the embedded database: each with its own login, so that it can do no more than its task needs.
 * The passwords are of this start alone.
 */
export async function serviceAddresses(ownerUrl: string): Promise<(app: string) => string> {
  const passwords = new Map((Object.keys(SERVICE_ROLES) as Service[]).map((service) => [service, randomBytes(24).toString('base64url')]));
  await inOwnerTransaction(ownerUrl, 'tallystick-up', (run) => makeServiceLogins(run, passwords));
  return (app) => {
    if (!isService(app)) return ownerUrl;
    const url = new URL(ownerUrl);
    url.username = loginOf(app);
    url.password = passwords.get(app)!;
    return url.href;
  };
}
