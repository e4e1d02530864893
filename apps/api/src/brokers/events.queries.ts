import type { Reader } from '../database/database.js';
import type { ListRequest, Page } from '../http/list.js';
import { Conditions } from '../database/conditions.js';
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
  const where = new Conditions()
    .and('e.broker = ?', broker)
    .and('e.action = ?', filter.action)
    .and('e.client = ?', filter.client)
    .and('e.ts >= ?', filter.from)
    .and('e.ts < ?', filter.to)
    .and('(e.ts, e.id) < (?, ?::bigint)', tsMs && new Date(Number(tsMs)), eventId);
  const rows = await read<EventSummary>(
    `SELECT e.id AS "eventId", e.ts, e.received_at AS "receivedAt", e.action, e.client, e.topic, e.qos, e.username, e.address, e.port,
       e.reason, e.truncated, e.packet_id AS "packetId", e.line_count AS "lineCount", e.raw
     FROM events e
     ${where.sql}
     ORDER BY e.ts DESC, e.id DESC
     LIMIT ${where.value(list.limit + 1)}`,
    where.values,
    'once',
  );
  return list.page(rows, (row) => [String(row.ts.getTime()), row.eventId]);
}
