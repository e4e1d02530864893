import { Conditions } from '../database/conditions.js';
import type { Reader } from '../database/database.js';
import { jsonTime, selected } from '../database/json-columns.js';
import { JsonText } from '../http/json-text.js';
import type { ListRequest, Page } from '../http/list.js';
import type { TimeRange } from '../http/time-range.js';
import type { EventSummary } from './events.dto.js';

/** The members of an event in their order, as JSON has them, with their SQL. */
export const EVENT_COLUMNS: Record<keyof EventSummary, string> = {
  eventId: 'e.id::text',
  ts: jsonTime('e.ts'),
  receivedAt: jsonTime('e.received_at'),
  action: 'e.action',
  client: 'e.client',
  topic: 'e.topic',
  qos: 'e.qos',
  username: 'e.username',
  address: 'e.address',
  port: 'e.port',
  reason: 'e.reason',
  truncated: 'e.truncated',
  packetId: 'e.packet_id',
  lineCount: 'e.line_count',
  raw: 'e.raw',
};

export interface EventsFilter extends TimeRange {
  action?: string;
  client?: string;
}

/**
 * Newest first. Many share a second, so what arrived later goes before. By idx_events_ts, of one action by idx_events_action_ts,
 * of one client by idx_events_client_ts, in every partition: those are by receipt, and a broker's clock may be far from ours.
 */
export async function listEvents(read: Reader, broker: string, filter: EventsFilter, list: ListRequest): Promise<Page<JsonText>> {
  const [tsMs, eventId] = list.after ?? [];
  const where = new Conditions()
    .and('e.broker = ?', broker)
    .and('e.action = ?', filter.action)
    .and('e.client = ?', filter.client)
    .and('e.ts >= ?', filter.from)
    .and('e.ts < ?', filter.to)
    .and('(e.ts, e.id) < (?, ?::bigint)', tsMs && new Date(Number(tsMs)), eventId);
  // PostgreSQL writes the JSON: 15 values for every row cost the API more than all the rest of an answer.
  const rows = await read<{ eventId: string; ts: Date; json: string }>(
    `SELECT e.id AS "eventId", e.ts, row_to_json(s)::text AS json
     FROM (SELECT e.* FROM events e ${where.sql} ORDER BY e.ts DESC, e.id DESC LIMIT ${where.value(list.limit + 1)}) e
     CROSS JOIN LATERAL (SELECT ${selected(EVENT_COLUMNS)}) s
     ORDER BY e.ts DESC, e.id DESC`,
    where.values,
    'once',
  );
  const { items, nextCursor } = list.page(rows, (row) => [String(row.ts.getTime()), row.eventId]);
  return { items: items.map(({ json }) => new JsonText(json)), nextCursor };
}
