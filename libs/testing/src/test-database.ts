import { createHash, randomBytes } from 'node:crypto';
import { createDataSource, expectedMigrations, migrate, SERVICE_ROLES } from '@tallystick/persistence';
import pg from 'pg';
import { onCleanUp } from './clean-up.js';

const PREFIX = 'test_';
const LOGIN_PASSWORD = 'test';

export interface TestDatabase {
  url: string;
  /** Ends its connections and removes it; done after the spec's file in any case. */
  drop(): Promise<void>;
}

/** A database with the whole schema and no rows, cloned from a template that is migrated once per server. */
export async function createTestDatabase(server = testServer()): Promise<TestDatabase> {
  return asAdmin(server, async (admin) => createDatabase(admin, server, await templateOf(admin, server)));
}

/** A database without our schema. */
export async function createEmptyDatabase(server = testServer()): Promise<TestDatabase> {
  return asAdmin(server, (admin) => createDatabase(admin, server, 'template0'));
}

function testServer(): string {
  const url = process.env['TEST_DATABASE_URL'];
  if (!url) {
    throw new Error(
      'TEST_DATABASE_URL is not set. Run the specs with `npm run test:integration` (or test:e2e, test:system), which starts PostgreSQL, ' +
        'or set it to the URL of a server on which its user may create databases.',
    );
  }
  return url;
}

async function createDatabase(admin: pg.Client, server: string, template: string): Promise<TestDatabase> {
  const name = `${PREFIX}${randomBytes(6).toString('hex')}`;
  await admin.query(`CREATE DATABASE ${name} TEMPLATE ${template}`);
  const drop = () => asAdmin(server, async (again) => void (await again.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)));
  onCleanUp(drop);
  return { url: urlOf(server, name), drop };
}

/**
 * The name of the migrated template, made if need be. Its name holds the migrations, so another version's is never taken;
 * `datistemplate` is set last and marks it as complete. The lock makes parallel spec files wait for the one that makes it.
 */
async function templateOf(admin: pg.Client, server: string): Promise<string> {
  const name = `tallystick_template_${createHash('sha256').update(expectedMigrations().join()).digest('hex').slice(0, 16)}`;
  await admin.query(`SELECT pg_advisory_lock(hashtextextended('tallystick.template', 0))`);
  try {
    const { rowCount } = await admin.query('SELECT FROM pg_database WHERE datname = $1 AND datistemplate', [name]);
    if (rowCount === 0) await makeTemplate(admin, server, name);
  } finally {
    await admin.query(`SELECT pg_advisory_unlock(hashtextextended('tallystick.template', 0))`);
  }
  return name;
}

async function makeTemplate(admin: pg.Client, server: string, name: string): Promise<void> {
  await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
  await admin.query(`CREATE DATABASE ${name} TEMPLATE template0`);
  const dataSource = createDataSource(urlOf(server, name), { poolSize: 2 });
  await dataSource.initialize();
  try {
    await migrate(dataSource);
  } finally {
    await dataSource.destroy();
  }
  for (const [app, role] of Object.entries(SERVICE_ROLES)) await makeLogin(admin, loginOf(app), role);
  await admin.query(`ALTER DATABASE ${name} IS_TEMPLATE true`);
}

async function makeLogin(admin: pg.Client, login: string, role: string): Promise<void> {
  const { rowCount } = await admin.query('SELECT FROM pg_roles WHERE rolname = $1', [login]);
  if (rowCount === 0) await admin.query(`CREATE ROLE ${login} LOGIN PASSWORD '${LOGIN_PASSWORD}'`);
  await admin.query(`GRANT ${role} TO ${login}`);
}

/** The address of a test database for an app: with the rights that it has in production, and no others. Other addresses stay as they are. */
export function addressForApp(url: string, app: string): string {
  if (!URL.canParse(url) || !(app in SERVICE_ROLES)) return url;
  const address = new URL(url);
  if (!address.pathname.startsWith(`/${PREFIX}`) || address.username !== new URL(testServer()).username) return url;
  address.username = loginOf(app);
  address.password = LOGIN_PASSWORD;
  return address.href;
}

function loginOf(app: string): string {
  return `test_${app.replace('-', '_')}`;
}

/** A short connection to the database `postgres`: advisory locks hold within one database, so it is the same for all. */
async function asAdmin<T>(server: string, use: (admin: pg.Client) => Promise<T>): Promise<T> {
  const admin = new pg.Client({ connectionString: urlOf(server, 'postgres') });
  await admin.connect();
  try {
    return await use(admin);
  } finally {
    await admin.end();
  }
}

function urlOf(server: string, database: string): string {
  const url = new URL(server);
  url.pathname = `/${database}`;
  return url.href;
}
