import { expectedMigrations } from '@tallystick/persistence';
import pg from 'pg';
import { createEmptyDatabase, createTestDatabase } from './test-database.js';

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

describe('test databases', () => {
  it('are migrated and apart from each other, also when asked for at once', async () => {
    const [one, other] = await Promise.all([createTestDatabase(), createTestDatabase()]);
    const names = (await query(one.url, 'SELECT name FROM migrations ORDER BY id')).map((row) => row['name']);
    expect(names).toEqual(expectedMigrations());
    await query(one.url, 'CREATE TABLE only_here ()');
    expect(await query(other.url, `SELECT to_regclass('only_here') AS found`)).toEqual([{ found: null }]);
  });

  it('can be empty, and are gone after drop even while somebody is connected', async () => {
    const database = await createEmptyDatabase();
    expect(await query(database.url, `SELECT to_regclass('migrations') AS found`)).toEqual([{ found: null }]);
    const open = new pg.Client({ connectionString: database.url });
    open.on('error', () => undefined);
    await open.connect();
    await database.drop();
    await expect(query(database.url, 'SELECT 1')).rejects.toMatchObject({ code: '3D000' });
  });

  it('say how to get a server when there is none', async () => {
    const url = process.env['TEST_DATABASE_URL'];
    delete process.env['TEST_DATABASE_URL'];
    await expect(createTestDatabase().finally(() => (process.env['TEST_DATABASE_URL'] = url))).rejects.toThrow('npm run test:integration');
    process.env['TEST_DATABASE_URL'] = url;
  });
});
