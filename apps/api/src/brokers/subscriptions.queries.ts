import type { Reader } from '../database/database.js';
import type { ListRequest, Page } from '../http/list.js';
import { BROKER_IS_WATCHED } from './brokers.queries.js';
import type { SubscriptionSummary } from './subscriptions.dto.js';

/** Of `subscriptions s`, in a statement whose $1 is the broker. */
export const SUBSCRIPTION = `
  s.client, s.topic, s.qos, s.active, s.uncertain OR (s.active AND NOT ${BROKER_IS_WATCHED}) AS uncertain, s.session_id AS "sessionId",
  s.created_at AS "createdAt", s.updated_at AS "updatedAt",
  CASE WHEN ${BROKER_IS_WATCHED}
    THEN EXISTS (SELECT FROM sessions o WHERE o.broker = s.broker AND o.client = s.client AND o.end_ts IS NULL) END AS connected`;

export interface SubscriptionsFilter {
  client?: string;
  topic?: string;
  active: boolean;
}

/** By client and topic filter. */
export async function listSubscriptions(
  read: Reader,
  broker: string,
  { client, topic, active }: SubscriptionsFilter,
  list: ListRequest,
): Promise<Page<SubscriptionSummary>> {
  const [afterClient, afterTopic] = list.after ?? [];
  const rows = await read<SubscriptionSummary>(
    // The page first: for as many rows as there are, all open sessions would be read to tell who is connected.
    `SELECT ${SUBSCRIPTION}
     FROM (
       SELECT * FROM subscriptions s
       WHERE s.broker = $1
         AND ($2::text IS NULL OR s.client = $2)
         AND ($3::text IS NULL OR s.topic = $3)
         AND (($4 AND s.active) OR (NOT $4 AND NOT s.active))
         AND ($5::text IS NULL OR (s.client, s.topic) > ($5, $6::text))
       ORDER BY s.client, s.topic
       LIMIT $7
     ) s
     ORDER BY s.client, s.topic`,
    [broker, client, topic, active, afterClient, afterTopic, list.limit + 1],
  );
  return list.page(rows, (row) => [row.client, row.topic]);
}
