import type { Gap } from '../gaps/gap.js';
import type { HistoryChanges } from '../sessions/broker-history.js';
import type { Session } from '../sessions/session.js';
import type { Fate } from '../subscriptions/subscription-book.js';
import type { RecordedLine } from './recorded-line.js';

/** One transaction: events with what they change. */
export interface HistoryPlan {
  events: readonly RecordedLine[];
  changes: HistoryChanges;
  /** Of the changed sessions those that have no row yet. */
  newSessions: ReadonlySet<Session>;
  gaps: readonly Gap[];
  /** When the broker began, if that became known: gaps around it were the broker's. */
  brokerStartedAtMs: number | undefined;
  /** The id of the first event, drawn beforehand: by it a commit of unknown outcome is found. */
  firstEventId: string | undefined;
}

export function isEmpty({ events, changes, gaps, brokerStartedAtMs }: HistoryPlan): boolean {
  return events.length + gaps.length + changes.sessions.size === 0 && brokerStartedAtMs === undefined;
}

/** Columns of rows, an array each: what `unnest` takes. */
export type Columns = unknown[][];

const time = (ms: number | null) => (ms === null ? null : new Date(ms));

/** ts, action, client, topic, qos, username, raw, received_at, address, port, reason, truncated, packet_id, line_count. */
export function eventColumns(events: readonly RecordedLine[]): Columns {
  return columns(events, ({ line, raw, tsMs, receivedAtMs, packetId, lineCount }) => [
    time(tsMs),
    line.action,
    line.client,
    line.topic,
    line.qos,
    line.username,
    raw,
    time(receivedAtMs),
    line.address,
    line.port,
    line.reason,
    line.truncated,
    packetId,
    lineCount,
  ]);
}

/** id, client, username, start_ts, end_ts, address, port, protocol_version, clean_start, keepalive, end_reason, ended_by, start_uncertain, end_uncertain. */
export function sessionColumns(sessions: readonly Session[]): Columns {
  return columns(sessions, (session) => [
    session.id,
    session.client,
    session.username,
    time(session.startMs),
    time(session.endMs),
    session.address,
    session.port,
    session.connect?.protocolVersion ?? null,
    session.connect?.cleanStart ?? null,
    session.connect?.keepaliveS ?? null,
    session.endReason,
    session.endedBy,
    session.startUncertain,
    session.endUncertain,
  ]);
}

/** client, username, first_seen, last_seen, in the order of the clients' names: two writers take row locks in the same order. */
export function clientColumns({ clients }: HistoryChanges): Columns {
  const sights = [...clients].sort(([a], [b]) => (a < b ? -1 : 1));
  return columns(sights, ([client, { username, firstMs, lastMs }]) => [client, username, time(firstMs), time(lastMs)]);
}

/** client, topic, qos, active, uncertain, session_id, at. */
export function subscriptionColumns({ subscriptions }: HistoryChanges): Columns {
  const rows = [...subscriptions].flatMap(([client, { topics }]) => [...topics].map(([topic, state]) => ({ client, topic, ...state })));
  return columns(rows, ({ client, topic, qos, active, uncertain, session, atMs }) => [
    client,
    topic,
    qos,
    active,
    uncertain,
    session?.id ?? null,
    time(atMs),
  ]);
}

export function clientsOfFate({ subscriptions }: HistoryChanges, fate: Fate): string[] {
  return [...subscriptions].filter(([, changes]) => changes.fate === fate).map(([client]) => client);
}

function columns<T>(rows: readonly T[], cells: (row: T) => unknown[]): Columns {
  const made: Columns = [];
  for (const [index, row] of rows.entries()) {
    for (const [column, cell] of cells(row).entries()) (made[column] ??= new Array<unknown>(rows.length))[index] = cell;
  }
  return made;
}
