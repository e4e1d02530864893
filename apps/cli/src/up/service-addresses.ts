import { randomBytes } from 'node:crypto';
import pg from 'pg';

/** The database role of each app. */
const ROLES: Record<string, string> = {
  'ingest-bridge': 'tallystick_ingest',
  'broker-watcher': 'tallystick_watcher',
  api: 'tallystick_api',
};

/**
 * Addresses under which the apps use the embedded database: each with its own role, so that it can do no more than its task needs.
 * The passwords are of this start alone.
 */
export async function serviceAddresses(ownerUrl: string): Promise<(app: string) => string> {
  const passwords = new Map(Object.entries(ROLES).map(([app, role]) => [app, { role, password: randomBytes(24).toString('base64url') }]));
  const client = new pg.Client({ connectionString: ownerUrl, application_name: 'tallystick-up' });
  await client.connect();
  try {
    for (const { role, password } of passwords.values()) await client.query(`ALTER ROLE ${role} LOGIN PASSWORD '${password}'`);
  } finally {
    await client.end();
  }
  return (app) => {
    const login = passwords.get(app);
    if (!login) return ownerUrl;
    const url = new URL(ownerUrl);
    url.username = login.role;
    url.password = login.password;
    return url.href;
  };
}
