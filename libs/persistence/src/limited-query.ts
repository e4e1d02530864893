import type { QueryConfig } from 'pg';
import type { DataSource } from 'typeorm';
import { poolOf } from './transaction.js';

/**
 * Rows of a statement that is answered at once by a server that answers. After `limitMs` its connection is taken for one that died without
 * having been closed, and thrown away, so that the next statement gets another. Left alone it would be waited for until TCP gives it up,
 * a quarter of an hour on Linux. One that answers with an error is thrown away too: which of both it was need not be told apart.
 */
export async function limitedQuery<Row>(dataSource: DataSource, text: string, limitMs: number): Promise<Row[]> {
  const statement: QueryConfig & { query_timeout: number } = { text, query_timeout: limitMs };
  const client = await poolOf(dataSource).connect();
  let broken: Error | undefined;
  // A connection that dies says so to its query and as an event; unheard, the event would end the process.
  const onBroken = (error: Error) => (broken = error);
  client.on('error', onBroken);
  try {
    const { rows } = await client.query(statement);
    return rows as Row[];
  } catch (error) {
    onBroken(error as Error);
    throw error;
  } finally {
    client.off('error', onBroken);
    client.release(broken);
  }
}
