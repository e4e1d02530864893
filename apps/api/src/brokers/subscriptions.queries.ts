import type { Reader } from '../database/database.js';
import type { ListRequest, Page } from '../http/list.js';
import { BROKER_IS_WATCHED } from './brokers.queries.js';
import { firstLevelsOf, receives } from './receiving-filters.js';
import type { SubscriptionSummary } from './subscriptions.dto.js';

export interface SubscriptionsFilter {
  client?: string;
  topic?: string;
  receives?: string;
  active: boolean;
}

/** By client and topic filter. */
export async function listSubscriptions(
  read: Reader,
  broker: string,
  filter: SubscriptionsFilter,
  list: ListRequest,
): Promise<Page<SubscriptionSummary>> {
  const { client, topic, active } = filter;
  const [afterClient, afterTopic] = list.after ?? [];
  const receivers =
    filter.receives === undefined ? undefined : await findReceivers(read, broker, { ...filter, receives: filter.receives }, list);
  const source =
    receivers === undefined
      ? 'subscriptions'
      : `(SELECT * FROM subscriptions WHERE broker = $1 AND active AND topic = $8
          UNION ALL
          SELECT s.* FROM unnest($9::text[], $10::text[]) AS r (client, topic) JOIN subscriptions s USING (client, topic)
          WHERE s.broker = $1 AND s.active)`;
  const rows = await read<SubscriptionSummary>(
    `SELECT s.client, s.topic, s.qos, s.active, s.uncertain OR (s.active AND NOT ${BROKER_IS_WATCHED}) AS uncertain, s.session_id AS "sessionId", s.created_at AS "createdAt",
       s.updated_at AS "updatedAt",
       CASE WHEN ${BROKER_IS_WATCHED}
         THEN EXISTS (SELECT FROM sessions o WHERE o.broker = s.broker AND o.client = s.client AND o.end_ts IS NULL) END AS connected
     FROM ${source} s
     WHERE s.broker = $1
       AND ($2::text IS NULL OR s.client = $2)
       AND ($3::text IS NULL OR s.topic = $3)
       AND (($4 AND s.active) OR (NOT $4 AND NOT s.active))
       AND ($5::text IS NULL OR (s.client, s.topic) > ($5, $6::text))
     ORDER BY s.client, s.topic
     LIMIT $7`,
    [
      ...[broker, client, topic, active, afterClient, afterTopic, list.limit + 1],
      ...(receivers === undefined ? [] : [filter.receives, receivers.map((row) => row.client), receivers.map((row) => row.topic)]),
    ],
  );
  return list.page(rows, (row) => [row.client, row.topic]);
}

/** Filters that are matched at once; their texts are at most some megabytes. */
const FILTERS_AT_ONCE = 5_000;

/**
 * What receives a topic, other than by its plain name: the first ones, as many as a page may need, of the subscriptions that hold a
 * wildcard or are shared (idx_subscriptions_wildcard). They are matched here, since a pattern that PostgreSQL could match takes it
 * the square of the topic's levels for each filter.
 */
async function findReceivers(
  read: Reader,
  broker: string,
  { client, topic, receives: name }: SubscriptionsFilter & { receives: string },
  list: ListRequest,
): Promise<Pick<SubscriptionSummary, 'client' | 'topic'>[]> {
  const found: Pick<SubscriptionSummary, 'client' | 'topic'>[] = [];
  let after: (string | undefined)[] = list.after ?? [];
  for (;;) {
    const rows = await read<Pick<SubscriptionSummary, 'client' | 'topic'>>(
      `SELECT client, topic FROM subscriptions
       WHERE broker = $1 AND active AND topic ~ '^[$]share/|[+#]' AND split_part(topic, '/', 1) = ANY ($2)
         AND ($3::text IS NULL OR client = $3)
         AND ($4::text IS NULL OR topic = $4)
         AND ($5::text IS NULL OR (client, topic) > ($5, $6::text))
       ORDER BY client, topic
       LIMIT $7`,
      [broker, firstLevelsOf(name), client, topic, after[0], after[1], FILTERS_AT_ONCE],
    );
    found.push(...rows.filter((row) => receives(row.topic, name)));
    const last = rows.at(-1);
    if (found.length > list.limit || rows.length < FILTERS_AT_ONCE || !last) return found.slice(0, list.limit + 1);
    after = [last.client, last.topic];
  }
}
