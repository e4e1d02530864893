import type { Reader } from '../database/database.js';
import type { ListRequest, Page } from '../http/list.js';
import type { TimeRange } from '../http/time-range.js';
import { BROKER_IS_WATCHED, BROKER_SEEN_UNTIL } from './brokers.queries.js';
import type { ClientSummary, Connection, SessionSummary } from './sessions.dto.js';

const CONNECTION = `
  s.id AS "sessionId", s.start_ts AS "startTs", s.address, s.port, s.protocol_version AS "protocolVersion",
  s.clean_start AS "cleanStart", s.keepalive, s.start_uncertain AS "startUncertain",
  s.end_uncertain OR (s.end_ts IS NULL AND NOT ${BROKER_IS_WATCHED}) AS "endUncertain"`;

export interface ClientsFilter {
  client?: string;
  clientPrefix?: string;
  connected?: boolean;
  /** Connected now, and never before. */
  seenOnlyNow?: boolean;
}

/** By client id in order of bytes (idx_clients_bytes), each with its open session (sessions_open_key). */
export async function listClients(read: Reader, broker: string, filter: ClientsFilter, list: ListRequest): Promise<Page<ClientSummary>> {
  const [client] = list.after ?? [];
  const rows = await read<Omit<ClientSummary, 'session'> & Connection>(
    `SELECT c.client, c.username, c.first_seen AS "firstSeen", c.last_seen AS "lastSeen",
       EXISTS (SELECT FROM broker_state b WHERE b.broker = c.broker AND b.watcher = c.client) AS "isWatcher", ${CONNECTION}
     FROM clients c LEFT JOIN sessions s ON s.broker = c.broker AND s.client = c.client AND s.end_ts IS NULL
     WHERE c.broker = $1
       AND ($2::text IS NULL OR c.client = $2)
       AND ($3::text IS NULL OR c.client COLLATE "C" ^@ $3)
       AND ($4::bool IS NULL OR (s.id IS NOT NULL) = $4)
       AND ($5::text IS NULL OR c.client COLLATE "C" > $5)
       AND ($6::bool IS NULL OR $6 = (
         s.id IS NOT NULL AND coalesce(c.first_seen >= s.start_ts, false)
         AND NOT EXISTS (SELECT FROM sessions o WHERE o.broker = c.broker AND o.client = c.client AND o.id <> s.id)))
     ORDER BY c.client COLLATE "C"
     LIMIT $7`,
    [broker, filter.client, filter.clientPrefix, filter.connected, client, filter.seenOnlyNow, list.limit + 1],
  );
  return list.page(rows.map(clientSummary), (row) => [row.client]);
}

function clientSummary(row: Omit<ClientSummary, 'session'> & Connection): ClientSummary {
  const { client, username, firstSeen, lastSeen, isWatcher, ...session } = row;
  return { client, username, firstSeen, lastSeen, isWatcher, session: (session.sessionId as string | null) === null ? null : session };
}

export interface SessionsFilter extends TimeRange {
  client?: string;
  open?: boolean;
  endedBy?: string;
  endReason?: string;
}

/** Newest first: by idx_sessions_start, a client's by sessions_client_ts_idx, those of one end by idx_sessions_end_reason and idx_sessions_ended_by. */
export async function listSessions(read: Reader, broker: string, filter: SessionsFilter, list: ListRequest): Promise<Page<SessionSummary>> {
  const [startMs, sessionId] = list.after ?? [];
  const rows = await read<SessionSummary>(
    `SELECT ${CONNECTION}, s.client, s.username, s.end_ts AS "endTs", s.end_reason AS "endReason", s.ended_by AS "endedBy",
       greatest(0, floor(extract(epoch FROM coalesce(s.end_ts, ${BROKER_SEEN_UNTIL}) - s.start_ts) * 1000))::float8 AS "durationMs"
     FROM sessions s
     WHERE s.broker = $1
       AND ($2::text IS NULL OR s.client = $2)
       AND ($3::bool IS NULL OR ($3 AND s.end_ts IS NULL) OR (NOT $3 AND s.end_ts IS NOT NULL))
       AND ($4::text IS NULL OR s.ended_by = $4)
       AND ($5::text IS NULL OR s.end_reason = $5)
       AND ($6::timestamptz IS NULL OR s.start_ts >= $6)
       AND ($7::timestamptz IS NULL OR s.start_ts < $7)
       AND ($8::timestamptz IS NULL OR (s.start_ts, s.id) < ($8, $9::bigint))
     ORDER BY s.start_ts DESC, s.id DESC
     LIMIT $10`,
    [
      broker,
      filter.client,
      filter.open,
      filter.endedBy,
      filter.endReason,
      filter.from,
      filter.to,
      startMs === undefined ? undefined : new Date(Number(startMs)),
      sessionId,
      list.limit + 1,
    ],
  );
  return list.page(rows, (row) => [String(row.startTs.getTime()), row.sessionId]);
}
