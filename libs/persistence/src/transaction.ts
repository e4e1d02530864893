import type { Pool, PoolClient } from 'pg';
import type { DataSource } from 'typeorm';

/** Longer than a statement of a writer may take; short enough to be at work again within 30 s after connections have silently died. */
export const SILENCE_LIMIT_MS = 20_000;

/**
 * How writers begin. When our connection dies silently, the server must not hold its locks for ever: the next try would wait for them.
 * All limits are below the one at which we give the connection up. In the middle of COPY a session is not idle, and only keepalive
 * ends it: by default after two hours. No limit on COMMIT, which may have to wait for a replica.
 */
export const BEGIN_LIMITED = [
  'BEGIN',
  `SET LOCAL idle_in_transaction_session_timeout = '10s'`,
  `SET LOCAL lock_timeout = '10s'`,
  'SET LOCAL tcp_keepalives_idle = 5',
  'SET LOCAL tcp_keepalives_interval = 5',
  'SET LOCAL tcp_keepalives_count = 2',
].join('; ');

/** The pg pool under a connected data source, for COPY and for statements on a connection that one writer owns. */
export function poolOf(dataSource: DataSource): Pool {
  return (dataSource.driver as unknown as { master: Pool }).master;
}

/**
 * Runs `work` between BEGIN and COMMIT on one connection; `begin` may carry further statements in the same round trip. When anything
 * throws, the transaction is rolled back, or, if the connection is broken, the connection is thrown away; the error is thrown on. An
 * error out of COMMIT itself leaves the outcome unknown: the caller must be able to tell by asking again.
 */
export async function inTransaction<T>(dataSource: DataSource, work: (client: PoolClient) => Promise<T>, begin = 'BEGIN'): Promise<T> {
  const client = await poolOf(dataSource).connect();
  let broken: Error | undefined;
  // A connection that dies says so to its query and as an event; unheard, the event would end the process.
  const onBroken = (error: Error) => (broken = error);
  client.on('error', onBroken);
  try {
    await client.query(begin);
    const result = await work(client);
    await client.query('COMMIT');
    return result;
  } catch (error) {
    await client.query('ROLLBACK').catch(onBroken);
    throw error;
  } finally {
    client.off('error', onBroken);
    client.release(broken);
  }
}
