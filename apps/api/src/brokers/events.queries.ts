import type { Reader } from '../database/database.js';
import type { ListRequest, Page } from '../http/list.js';
import type { TimeRange } from '../http/time-range.js';
import type { EventSummary } from './events.dto.js';

export interface EventsFilter extends TimeRange {
  action?: string;
  client?: string;
}

/**
 * Newest first. Many share a second, so what arrived later goes before. By idx_events_ts, of one action by idx_events_action_ts,
 * of one client by idx_events_client_ts, in every partition: those are by receipt, and a broker's clock may be far from ours.
 */
export async function listEvents(read: Reader, broker: string, filter: EventsFilter, list: ListRequest): Promise<Page<EventSummary>> {
  const [tsMs, eventId] = list.after ?? [];
  const rows = await read<EventSummary>(
    `SELECT e.id AS "eventId", e.ts, e.received_at AS "receivedAt", e.action, e.client, e.topic, e.qos, e.username, e.address, e.port,
       e.reason, e.truncated, e.packet_id AS "packetId", e.line_count AS "lineCount", e.raw
     FROM events e
     WHERE e.broker = $1
       AND ($2::text IS NULL OR e.action = $2)
       AND ($3::text IS NULL OR e.client = $3)
       AND ($4::timestamptz IS NULL OR e.ts >= $4)
       AND ($5::timestamptz IS NULL OR e.ts < $5)
       AND ($6::timestamptz IS NULL OR (e.ts, e.id) < ($6, $7::bigint))
     ORDER BY e.ts DESC, e.id DESC
     LIMIT $8`,
    [
      broker,
      filter.action,
      filter.client,
      filter.from,
      filter.to,
      tsMs === undefined ? undefined : new Date(Number(tsMs)),
      eventId,
      list.limit + 1,
    ],
  );
  return list.page(rows, (row) => [String(row.ts.getTime()), row.eventId]);
}
