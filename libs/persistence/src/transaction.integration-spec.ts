import { createTestDatabase } from '@tallystick/testing';
import type { DataSource } from 'typeorm';
import { createDataSource } from './data-source.js';
import { inTransaction } from './transaction.js';

describe('inTransaction', () => {
  let dataSource: DataSource;
  beforeAll(async () => {
    dataSource = await createDataSource((await createTestDatabase()).url, { poolSize: 2 }).initialize();
    await dataSource.query('CREATE TABLE notes (note text)');
  });
  afterAll(() => dataSource.destroy());
  const notes = async () => (await dataSource.query<{ note: string }[]>('SELECT note FROM notes')).map((row) => row.note);

  it('commits what the work wrote and returns what it returned', async () => {
    const result = await inTransaction(dataSource, async (client) => {
      await client.query(`INSERT INTO notes VALUES ('kept')`);
      return 7;
    });
    expect(result).toBe(7);
    expect(await notes()).toEqual(['kept']);
  });

  it('rolls back when the work throws, and the connection serves again', async () => {
    const failing = inTransaction(dataSource, async (client) => {
      await client.query(`INSERT INTO notes VALUES ('lost')`);
      await client.query('SELECT 1/0');
    });
    await expect(failing).rejects.toMatchObject({ code: '22012' });
    expect(await notes()).toEqual(['kept']);
  });

  it('throws away a connection that dies in the middle, without ending the process', async () => {
    for (let i = 0; i < 5; i++) {
      const dying = inTransaction(dataSource, async (client) => {
        const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
        await dataSource.query('SELECT pg_terminate_backend($1)', [rows[0]!.pid]);
        await client.query(`INSERT INTO notes VALUES ('never')`);
      });
      await expect(dying).rejects.toThrow();
    }
    expect(await notes()).toEqual(['kept']);
  });
});
