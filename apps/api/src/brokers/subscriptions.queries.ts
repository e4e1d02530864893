import type { Reader } from '../database/database.js';
import type { ListRequest, Page } from '../http/list.js';
import { receivingFilters } from './receiving-filters.js';
import type { SubscriptionSummary } from './subscriptions.dto.js';

export interface SubscriptionsFilter {
  client?: string;
  topic?: string;
  receives?: string;
  active: boolean;
}

/**
 * By client and topic filter. What receives a topic are the subscriptions to its plain name (idx_subscriptions_active_topic) and,
 * of those that hold a wildcard or are shared (idx_subscriptions_wildcard), the ones whose filter matches.
 */
export async function listSubscriptions(
  read: Reader,
  broker: string,
  { client, topic, receives, active }: SubscriptionsFilter,
  list: ListRequest,
): Promise<Page<SubscriptionSummary>> {
  const [afterClient, afterTopic] = list.after ?? [];
  const matching =
    receives === undefined
      ? 'subscriptions'
      : `(SELECT * FROM subscriptions WHERE broker = $1 AND active AND topic = $8
          UNION ALL
          SELECT * FROM subscriptions WHERE broker = $1 AND active AND topic ~ '^[$]share/|[+#]' AND topic ~ $9)`;
  const rows = await read<SubscriptionSummary>(
    `SELECT s.client, s.topic, s.qos, s.active, s.uncertain, s.session_id AS "sessionId", s.created_at AS "createdAt",
       s.updated_at AS "updatedAt",
       EXISTS (SELECT FROM sessions o WHERE o.broker = s.broker AND o.client = s.client AND o.end_ts IS NULL) AS connected
     FROM ${matching} s
     WHERE s.broker = $1
       AND ($2::text IS NULL OR s.client = $2)
       AND ($3::text IS NULL OR s.topic = $3)
       AND (($4 AND s.active) OR (NOT $4 AND NOT s.active))
       AND ($5::text IS NULL OR (s.client, s.topic) > ($5, $6::text))
     ORDER BY s.client, s.topic
     LIMIT $7`,
    [
      broker,
      client,
      topic,
      active,
      afterClient,
      afterTopic,
      list.limit + 1,
      ...(receives === undefined ? [] : [receives, receivingFilters(receives)]),
    ],
  );
  return list.page(rows, (row) => [row.client, row.topic]);
}
