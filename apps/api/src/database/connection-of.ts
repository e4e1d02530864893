import type { Pool, PoolClient } from 'pg';
import { DatabaseUnavailableError } from './database-errors.js';

/** A request waits so long for one of the connections that others have, so that it is answered within a second. */
const LONGEST_WAIT_MS = 900;

/**
 * A connection of the pool. Throws DatabaseUnavailableError when all are in use and none comes back in time; for a connection that is
 * only being made, the pool's own limit holds.
 */
export async function connectionOf(pool: Pool): Promise<PoolClient> {
  const isExhausted = pool.totalCount >= pool.options.max && pool.idleCount === 0;
  const coming = pool.connect();
  if (!isExhausted) return coming;
  let timer: NodeJS.Timeout | undefined;
  const timeUp = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      // The pool cannot be told that nobody waits any more: what comes late goes back.
      coming.then(
        (client) => client.release(),
        () => undefined,
      );
      reject(new DatabaseUnavailableError('all its connections are in use'));
    }, LONGEST_WAIT_MS);
  });
  return Promise.race([coming, timeUp]).finally(() => clearTimeout(timer));
}
