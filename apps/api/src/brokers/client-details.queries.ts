import type { Reader } from '../database/database.js';
import { ListRequest } from '../http/list.js';
import { BROKER_IS_WATCHED } from './brokers.queries.js';
import type { ClientDetails } from './client-details.dto.js';
import { listClients, listSessions } from './sessions.queries.js';
import { listSubscriptions } from './subscriptions.queries.js';

const RECENT_SESSIONS = 10;
const FIRST_SUBSCRIPTIONS = 50;

/** Undefined when no client of this id was ever seen. */
export async function findClientDetails(read: Reader, broker: string, client: string): Promise<ClientDetails | undefined> {
  const ofClient = new ListRequest('client', ['text'], { limit: 1 });
  const sessions = new ListRequest('sessions', ['time', 'bigint'], { limit: RECENT_SESSIONS });
  const subscriptions = new ListRequest('subscriptions', ['text', 'text'], { limit: FIRST_SUBSCRIPTIONS });
  const [{ items: found }, [counted], { items: recentSessions }, { items: active }] = await Promise.all([
    listClients(read, broker, { client }, ofClient),
    // From sessions_client_ts_idx and subscriptions_client_topic_idx; a client that flaps has more sessions than can be counted from the first on.
    read<Counted>(
      `SELECT ${BROKER_IS_WATCHED} AS "isWatched",
         (count(*) FILTER (WHERE start_ts >= now() - interval '24 hours'))::int AS "sessions24h", count(*)::int AS "sessions7d",
         (SELECT count(*)::int FROM subscriptions WHERE broker = $1 AND client = $2 AND active) AS "activeSubscriptions"
       FROM sessions WHERE broker = $1 AND client = $2 AND start_ts >= now() - interval '7 days'`,
      [broker, client],
    ),
    listSessions(read, broker, { client }, sessions),
    listSubscriptions(read, broker, { client, active: true }, subscriptions),
  ]);
  const [summary] = found;
  if (!summary) return undefined;
  const { isWatched, ...counts } = counted!;
  return { ...summary, ...counts, connected: isWatched ? summary.session !== null : null, recentSessions, subscriptions: active };
}

interface Counted extends Pick<ClientDetails, 'sessions24h' | 'sessions7d' | 'activeSubscriptions'> {
  isWatched: boolean | null;
}
