import type { QueryResult } from 'pg';
import type { Reader } from '../src/database/database.js';

interface Connection {
  query<Row extends object>(statement: { text: string; values: unknown[] }): Promise<QueryResult<Row>>;
}

/** Reads with the connection's own rights, inside the transaction that it is in, one statement after another. */
export function readerOn(sql: Connection, tenantId: string | null = null): Reader {
  let last: Promise<unknown> = Promise.resolve();
  const read = <Row>(text: string, values: readonly unknown[] = []): Promise<Row[]> => {
    const rows = last.then(async () => (await sql.query<Row & object>({ text, values: [...values] })).rows);
    last = rows.catch(() => undefined);
    return rows;
  };
  return Object.assign(read, { tenantId });
}

/** Reads as `Database.read` does: in a transaction with the rights of the API, and the sight of one tenant, or with null of the platform. */
export async function readingAs<T>(sql: Connection, tenantId: string | null, work: (read: Reader) => Promise<T>): Promise<T> {
  const read = readerOn(sql, tenantId);
  await read('BEGIN READ ONLY');
  try {
    await read(
      `SELECT set_config('role', 'tallystick_api', true), set_config('app.tenant', $1, true), set_config('app.platform', $2, true)`,
      [tenantId ?? '', tenantId === null ? 'on' : 'off'],
    );
    return await work(read);
  } finally {
    await read('ROLLBACK');
  }
}
