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
  const { items: found } = await listClients(read, broker, { client }, new ListRequest('client', ['text'], { limit: 1 }));
  const [summary] = found;
  if (!summary) return undefined;
  // From sessions_client_ts_idx and subscriptions_client_topic_idx; a client that flaps has more sessions than can be counted from the first on.
  const [counts] = await read<Counted>(
    `SELECT CASE WHEN ${BROKER_IS_WATCHED} THEN $3::bool END AS connected,
       (count(*) FILTER (WHERE start_ts >= now() - interval '24 hours'))::int AS "sessions24h", count(*)::int AS "sessions7d",
       (SELECT count(*)::int FROM subscriptions WHERE broker = $1 AND client = $2 AND active) AS "activeSubscriptions"
     FROM sessions WHERE broker = $1 AND client = $2 AND start_ts >= now() - interval '7 days'`,
    [broker, client, summary.session !== null],
  );
  const sessions = new ListRequest('sessions', ['time', 'bigint'], { limit: RECENT_SESSIONS });
  const subscriptions = new ListRequest('subscriptions', ['text', 'text'], { limit: FIRST_SUBSCRIPTIONS });
  return {
    ...summary,
    ...counts!,
    recentSessions: (await listSessions(read, broker, { client }, sessions)).items,
    subscriptions: (await listSubscriptions(read, broker, { client, active: true }, subscriptions)).items,
  };
}

type Counted = Pick<ClientDetails, 'connected' | 'sessions24h' | 'sessions7d' | 'activeSubscriptions'>;
