import { HEARTBEAT } from '@tallystick/persistence';
import type { Reader } from '../database/database.js';
import type { ListRequest, Page } from '../http/list.js';
import type { TimeRange } from '../http/time-range.js';
import type { BrokerAdvice, BrokerDetails, BrokerDiagnostics, BrokerSummary, GapSummary, UnknownLines } from './brokers.dto.js';
import { findHeartbeat, latestValue } from './metrics.queries.js';

/** The watcher writes `watched_until` every 2 s. */
const IS_WATCHED = `coalesce(b.watched_until > now() - interval '10 seconds', false)`;

const SUMMARY = `
  b.broker, b.version, b.started_at AS "startedAt", b.watcher, b.watched_until AS "watchedUntil",
  CASE WHEN b.watched_until IS NULL THEN 'never_watched' WHEN ${IS_WATCHED} THEN 'watched' ELSE 'unwatched' END AS state`;

/** For a statement whose $1 is the broker: whether it is watched, for else what is open may be over. */
export const BROKER_IS_WATCHED = `(SELECT ${IS_WATCHED} FROM broker_state b WHERE b.broker = $1)`;

/** For a statement whose $1 is the broker: until when what is open is known to have lasted. */
export const BROKER_SEEN_UNTIL = `
  (SELECT CASE WHEN ${IS_WATCHED} THEN now() ELSE coalesce(b.watched_until, now()) END FROM broker_state b WHERE b.broker = $1)`;

const GAP = `
  g.id AS "gapId", g.from_ts AS "fromTs", g.to_ts AS "toTs", g.reason,
  (extract(epoch FROM g.to_ts - g.from_ts) * 1000)::float8 AS "durationMs"`;

/** By name. */
export async function listBrokers(read: Reader, list: ListRequest): Promise<Page<BrokerSummary>> {
  const [broker] = list.after ?? [];
  const rows = await read<BrokerSummary>(
    `SELECT ${SUMMARY} FROM broker_state b WHERE ($1::text IS NULL OR b.broker > $1) ORDER BY b.broker LIMIT $2`,
    [broker, list.limit + 1],
  );
  return list.page(rows, (row) => [row.broker]);
}

export async function findBroker(read: Reader, broker: string): Promise<BrokerSummary | undefined> {
  const rows = await read<BrokerSummary>(`SELECT ${SUMMARY} FROM broker_state b WHERE b.broker = $1`, [broker]);
  return rows[0];
}

/** Newest first; those that share a moment with the range, one without length included. By idx_observation_gaps_from. */
export async function listGaps(read: Reader, broker: string, filter: TimeRange, list: ListRequest): Promise<Page<GapSummary>> {
  const [fromMs, gapId] = list.after ?? [];
  const rows = await read<GapSummary>(
    `SELECT ${GAP}
     FROM observation_gaps g
     WHERE g.broker = $1
       AND ($2::timestamptz IS NULL OR g.to_ts > $2 OR g.from_ts >= $2)
       AND ($3::timestamptz IS NULL OR g.from_ts < $3)
       AND ($4::timestamptz IS NULL OR (g.from_ts, g.id) < ($4, $5::bigint))
     ORDER BY g.from_ts DESC, g.id DESC
     LIMIT $6`,
    [broker, filter.from, filter.to, fromMs === undefined ? undefined : new Date(Number(fromMs)), gapId, list.limit + 1],
  );
  return list.page(rows, (row) => [String(row.fromTs.getTime()), row.gapId]);
}

async function findLastGap(read: Reader, broker: string): Promise<GapSummary | null> {
  const [gap] = await read<GapSummary>(
    `SELECT ${GAP} FROM observation_gaps g WHERE g.broker = $1 ORDER BY g.from_ts DESC, g.id DESC LIMIT 1`,
    [broker],
  );
  return gap ?? null;
}

/** A broker at a glance. Open sessions are counted by sessions_open_key, active subscriptions by idx_subscriptions_active_topic. */
export async function findDetails(read: Reader, summary: BrokerSummary): Promise<BrokerDetails> {
  const { broker } = summary;
  const [counted] = await read<Pick<BrokerDetails, 'uptimeSeconds' | 'openSessions' | 'activeSubscriptions'>>(
    `SELECT (SELECT value FROM ${latestValue('$1', `'${HEARTBEAT}'`)} u) AS "uptimeSeconds",
       (SELECT count(*)::int FROM sessions WHERE broker = $1 AND end_ts IS NULL) AS "openSessions",
       (SELECT count(*)::int FROM subscriptions WHERE broker = $1 AND active) AS "activeSubscriptions"`,
    [broker],
  );
  const { at, isStale } = await findHeartbeat(read, broker);
  return { ...summary, ...counted!, heartbeatAt: at, isStale, lastGap: await findLastGap(read, broker) };
}

/** What the database can say of how complete a broker's history is; the advice is what its watcher stored. */
export async function findDiagnostics(read: Reader, summary: BrokerSummary): Promise<BrokerDiagnostics> {
  const { broker } = summary;
  const [counted] = await read<Counted>(
    `SELECT now() AS "checkedAt", s.*, c.*, g.*, b.capabilities -> 'advice' AS advice, b.capabilities -> 'unknownShapes' AS shapes
     FROM broker_state b
     CROSS JOIN LATERAL (
       SELECT count(*)::int AS "openSessions", (count(*) FILTER (WHERE start_uncertain OR end_uncertain OR NOT ${IS_WATCHED}))::int AS "uncertainSessions"
       FROM sessions WHERE broker = b.broker AND end_ts IS NULL
     ) s
     LEFT JOIN LATERAL ${latestValue('b.broker', `'clients/connected'`)} AS c ("connectedClients", "connectedClientsAt") ON true
     CROSS JOIN LATERAL (
       SELECT count(*)::int AS "gaps24h" FROM observation_gaps WHERE broker = b.broker AND to_ts > now() - interval '24 hours'
     ) g
     WHERE b.broker = $1`,
    [broker],
  );
  const { shapes, advice, ...rest } = counted!;
  const { at, isStale } = await findHeartbeat(read, broker);
  const isCounted = rest.connectedClients !== null && !isStale;
  return {
    ...summary,
    ...rest,
    heartbeatAt: at,
    isStale,
    drift: isCounted ? rest.openSessions - rest.connectedClients! : null,
    lastGap: await findLastGap(read, broker),
    unknownLines: unknownLines(shapes ?? {}),
    advice: advice ?? [],
  };
}

type Counted = Pick<
  BrokerDiagnostics,
  'checkedAt' | 'openSessions' | 'uncertainSessions' | 'connectedClients' | 'connectedClientsAt' | 'gaps24h'
> & { advice: BrokerAdvice[] | null; shapes: Record<string, number> | null };

function unknownLines(shapes: Record<string, number>): UnknownLines[] {
  return Object.entries(shapes)
    .map(([shape, count]) => ({ shape, count }))
    .sort((a, b) => b.count - a.count);
}
