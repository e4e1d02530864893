import type { Reader } from '../database/database.js';
import type { ListRequest, Page } from '../http/list.js';
import { firstLevelsOf, receives } from './receiving-filters.js';
import type { SubscriptionMatch } from './subscription-matches.dto.js';
import type { SubscriptionSummary } from './subscriptions.dto.js';
import { SUBSCRIPTION } from './subscriptions.queries.js';

export interface MatchRequest {
  /** A topic name. */
  topic: string;
  client?: string;
}

/** The active subscriptions that receive what is published to a topic, by client and topic filter. */
export async function listMatches(
  read: Reader,
  broker: string,
  request: MatchRequest,
  list: ListRequest,
): Promise<Page<SubscriptionMatch>> {
  const { topic, client } = request;
  const [afterClient, afterTopic] = list.after ?? [];
  const others = await findWildcards(read, broker, request, list);
  const rows = await read<SubscriptionSummary>(
    `SELECT ${SUBSCRIPTION}
     FROM (SELECT * FROM subscriptions WHERE broker = $1 AND active AND topic = $3
           UNION ALL
           SELECT m.* FROM unnest($4::text[], $5::text[]) AS r (client, topic) JOIN subscriptions m USING (client, topic)
           WHERE m.broker = $1 AND m.active) s
     WHERE ($2::text IS NULL OR s.client = $2)
       AND ($6::text IS NULL OR (s.client, s.topic) > ($6, $7::text))
     ORDER BY s.client, s.topic
     LIMIT $8`,
    [broker, client, topic, others.map((row) => row.client), others.map((row) => row.topic), afterClient, afterTopic, list.limit + 1],
  );
  const { items, nextCursor } = list.page(rows, (row) => [row.client, row.topic]);
  const members = await countMembers(read, broker, items);
  return {
    items: items.map((item) => ({ ...item, shareGroup: shareGroupOf(item.topic), shareMembers: members.get(item.topic) ?? null })),
    nextCursor,
  };
}

/** `$share/<group>/<filter>` (MQTT 5 section 4.8.2). */
function shareGroupOf(filter: string): string | null {
  return filter.startsWith('$share/') ? filter.split('/', 2)[1]! : null;
}

/** Members of the share groups on a page, by filter: those of one group share what comes for one filter. */
async function countMembers(read: Reader, broker: string, items: readonly SubscriptionSummary[]): Promise<Map<string, number>> {
  const filters = [...new Set(items.map((item) => item.topic).filter((filter) => shareGroupOf(filter) !== null))];
  if (filters.length === 0) return new Map();
  const rows = await read<{ topic: string; members: number }>(
    `SELECT topic, count(*)::int AS members FROM subscriptions WHERE broker = $1 AND active AND topic = ANY ($2) GROUP BY topic`,
    [broker, filters],
  );
  return new Map(rows.map(({ topic, members }) => [topic, members]));
}

/** Filters that are matched at once; their texts are at most some megabytes. */
const FILTERS_AT_ONCE = 5_000;

/**
 * What receives a topic, other than by its plain name: the first ones, as many as a page may need, of the subscriptions that hold a
 * wildcard or are shared (idx_subscriptions_wildcard). They are matched here, since a pattern that PostgreSQL could match takes it
 * the square of the topic's levels for each filter.
 */
async function findWildcards(
  read: Reader,
  broker: string,
  { topic, client }: MatchRequest,
  list: ListRequest,
): Promise<Pick<SubscriptionSummary, 'client' | 'topic'>[]> {
  const found: Pick<SubscriptionSummary, 'client' | 'topic'>[] = [];
  let after: (string | undefined)[] = list.after ?? [];
  for (;;) {
    const rows = await read<Pick<SubscriptionSummary, 'client' | 'topic'>>(
      `SELECT client, topic FROM subscriptions
       WHERE broker = $1 AND active AND topic ~ '^[$]share/|[+#]' AND split_part(topic, '/', 1) = ANY ($2)
         AND ($3::text IS NULL OR client = $3)
         AND ($4::text IS NULL OR (client, topic) > ($4, $5::text))
       ORDER BY client, topic
       LIMIT $6`,
      [broker, firstLevelsOf(topic), client, after[0], after[1], FILTERS_AT_ONCE],
    );
    found.push(...rows.filter((row) => receives(row.topic, topic)));
    const last = rows.at(-1);
    if (found.length > list.limit || rows.length < FILTERS_AT_ONCE || !last) return found.slice(0, list.limit + 1);
    after = [last.client, last.topic];
  }
}
