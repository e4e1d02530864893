import type { Statements } from '@tallystick/access';
import pg from 'pg';

/** Runs statements in one transaction, on a connection of its own that ends with it. Throws what PostgreSQL says. */
export async function inOwnerTransaction<T>(url: string, applicationName: string, work: (run: Statements) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, application_name: applicationName, connectionTimeoutMillis: 5_000 });
  client.on('error', () => undefined); // the query that meets it reports it
  try {
    await client.connect();
    await client.query('BEGIN');
    const result = await work(async <Row>(text: string, values: readonly unknown[] = []) => {
      return (await client.query<Row & object>(text, [...values])).rows;
    });
    await client.query('COMMIT');
    return result;
  } finally {
    await client.end();
  }
}
