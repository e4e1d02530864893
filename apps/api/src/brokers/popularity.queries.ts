import type { Reader } from '../database/database.js';
import type { ListRequest, Page } from '../http/list.js';
import type { SubscribedTopic } from './popularity.dto.js';

/** Most subscribers first, then by topic filter; all active subscriptions are counted for each page. */
export async function listPopularity(read: Reader, broker: string, list: ListRequest): Promise<Page<SubscribedTopic>> {
  const [subscribers, topic] = list.after ?? [];
  const rows = await read<SubscribedTopic>(
    `SELECT topic, subscribers::int, uncertain::int
     FROM subscription_popularity p
     WHERE broker = $1 AND ($2::bigint IS NULL OR p.subscribers < $2 OR (p.subscribers = $2 AND p.topic > $3::text))
     ORDER BY p.subscribers DESC, p.topic
     LIMIT $4`,
    [broker, subscribers, topic, list.limit + 1],
  );
  return list.page(rows, (row) => [String(row.subscribers), row.topic]);
}
