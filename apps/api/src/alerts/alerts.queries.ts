import { uuidv7 } from '@tallystick/persistence';
import type { Reader, Sight } from '../database/database.js';
import type { ListRequest, Page } from '../http/list.js';
import type { AlertFinding, Severity } from './alert-finding.js';
import type { AlertState, DueAlert } from './alert-notice.js';
import type { AlertSummary } from './alerts.dto.js';

export const ALL_TENANTS: Sight = { tenantId: null, isPlatform: true };

/** An alert that is open may be told again when there is more of it, so often at most. */
const TOLD_AGAIN_AFTER = `interval '1 hour'`;
/** What has ended is told for so long; what has not, for as long as it takes. */
const GIVEN_UP_AFTER = `interval '24 hours'`;
const KEPT_FOR = `interval '90 days'`;

/** Longer than a try and its record may take. Of a process that dies in it another one takes over then. */
const CLAIM_MS = 20_000;
const LONGEST_RETRY_MS = 300_000;

/** A transaction of ours whose process is frozen is ended by the server: it holds what other processes need. */
const LIMIT_IDLENESS = `set_config('idle_in_transaction_session_timeout', '10s', true)`;

/** False: another process looks for this kind at the moment. Its locks and ours would be taken in another order. */
export async function beginLook(run: Reader, kind: string): Promise<boolean> {
  const [row] = await run<{ isOurs: boolean }>(
    `SELECT ${LIMIT_IDLENESS}, pg_try_advisory_xact_lock(hashtextextended('tallystick.alerts.' || $1::text, 0)) AS "isOurs"`,
    [kind],
  );
  return row!.isOurs;
}

/**
 * Opens an alert, or keeps the open one of this kind and subject up to date; the unique index decides between processes. Returns the id
 * of one that was opened.
 */
export async function keepAlert(run: Reader, kind: string, severity: Severity, finding: AlertFinding): Promise<string | undefined> {
  const { subject, opens, level, summary, details, path } = finding;
  const [row] = await run<{ alertId: string; isNew: boolean }>(
    `INSERT INTO alerts AS a (alert_id, kind, subject, severity, summary, details, path, level)
     SELECT $1::uuid, $2::varchar, $3::text, $4::varchar, $5::text, $6::jsonb, $7::text, $8::int
     WHERE $9::boolean OR EXISTS (SELECT FROM alerts o WHERE o.kind = $2 AND o.subject = $3 AND o.resolved_at IS NULL)
     ON CONFLICT (kind, subject) WHERE resolved_at IS NULL DO UPDATE
     SET last_seen_at = now(), severity = excluded.severity, summary = excluded.summary, details = excluded.details, path = excluded.path,
       level = excluded.level, notified_level = least(a.notified_level, excluded.level),
       next_attempt_at = coalesce(a.next_attempt_at, CASE WHEN excluded.level > a.notified_level THEN greatest(now(), a.notified_at + ${TOLD_AGAIN_AFTER}) END)
     RETURNING alert_id AS "alertId", xmax = 0 AS "isNew"`,
    [uuidv7(Date.now()), kind, subject, severity, summary, details, path, level, opens],
  );
  return row?.isNew ? row.alertId : undefined;
}

/** Ends the alerts of a kind that were not found for so long: a condition that comes and goes is one alert. Returns their ids. */
export async function resolveAlerts(run: Reader, kind: string, unseenMs: number): Promise<string[]> {
  const rows = await run<{ alertId: string }>(
    `UPDATE alerts SET resolved_at = now(), next_attempt_at = coalesce(next_attempt_at, now())
     WHERE kind = $1 AND resolved_at IS NULL AND last_seen_at < now() - $2 * interval '1 ms'
     RETURNING alert_id AS "alertId"`,
    [kind, unseenMs],
  );
  return rows.map(({ alertId }) => alertId);
}

export async function countOpenAlerts(run: Reader, kind: string): Promise<number> {
  const [row] = await run<{ open: number }>(`SELECT count(*)::int AS open FROM alerts WHERE kind = $1 AND resolved_at IS NULL`, [kind]);
  return row!.open;
}

/** Removes what ended long ago; by idx_alerts_opened_at. */
export async function trimAlerts(run: Reader, kind: string): Promise<void> {
  await run(`DELETE FROM alerts WHERE kind = $1 AND opened_at < now() - ${KEPT_FOR} AND resolved_at < now() - ${KEPT_FOR}`, [kind]);
}

/** An alert to be delivered by this process and no other until `claimedUntil`. */
export interface ClaimedAlert extends DueAlert {
  level: number;
  attempts: number;
  claimedUntil: Date;
}

/**
 * Takes the alert whose notice has been due for longest; undefined when there is none. Committed before the POST: a process that dies
 * after this line leaves the notice to whoever looks once the claim is over. So each notice is delivered at least once.
 */
export async function claimAlert(run: Reader): Promise<ClaimedAlert | undefined> {
  await run(`SELECT ${LIMIT_IDLENESS}`);
  const rows = await run<ClaimedAlert>(
    `UPDATE alerts SET attempts = attempts + 1, next_attempt_at = now() + ${CLAIM_MS} * interval '1 ms'
     WHERE alert_id = (
       SELECT alert_id FROM alerts
       WHERE next_attempt_at <= now() AND (resolved_at IS NULL OR resolved_at > now() - ${GIVEN_UP_AFTER})
       ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED
     )
     RETURNING alert_id AS "alertId", kind, severity, subject, summary, details, path, opened_at AS "openedAt", resolved_at AS "resolvedAt", level, notices,
       CASE WHEN notified_at IS NOT NULL AND resolved_at IS NOT NULL THEN 'resolved' ELSE 'firing' END AS state,
       attempts, next_attempt_at AS "claimedUntil"`,
  );
  return rows[0];
}

/** The receiver took the notice. What happened to the alert since the claim is due now. Whoever lost the claim meanwhile records nothing. */
export async function recordDelivery(run: Reader, { alertId, state, level, claimedUntil }: ClaimedAlert): Promise<void> {
  await run(
    `UPDATE alerts SET attempts = 0, notices = notices + 1, notified_at = now(), notified_level = $3,
       next_attempt_at = CASE WHEN $4 = 'resolved' THEN NULL
                              WHEN resolved_at IS NOT NULL THEN now()
                              WHEN level > $3 THEN now() + ${TOLD_AGAIN_AFTER} END
     WHERE alert_id = $1::uuid AND next_attempt_at = $2`,
    [alertId, claimedUntil, level, state],
  );
}

/** The receiver did not take it: the next try is due after `firstRetryMs`, twice that after another one, and so on up to five minutes. */
export async function recordFailure(run: Reader, { alertId, attempts, claimedUntil }: ClaimedAlert, firstRetryMs: number): Promise<void> {
  const delayMs = Math.min(LONGEST_RETRY_MS, firstRetryMs * 2 ** Math.min(attempts - 1, 16));
  await run(`UPDATE alerts SET next_attempt_at = now() + $3 * interval '1 ms' WHERE alert_id = $1::uuid AND next_attempt_at = $2`, [
    alertId,
    claimedUntil,
    delayMs,
  ]);
}

export interface AlertsFilter {
  state?: AlertState;
  kind?: string;
}

/** Newest first: by idx_alerts_opened_at. */
export async function listAlerts(read: Reader, { state, kind }: AlertsFilter, list: ListRequest): Promise<Page<AlertSummary>> {
  const [openedAtMs, alertId] = list.after ?? [];
  const rows = await read<AlertSummary>(
    `SELECT alert_id AS "alertId", kind, severity, CASE WHEN resolved_at IS NULL THEN 'firing' ELSE 'resolved' END AS state, subject, summary,
       details, path AS link, opened_at AS since, last_seen_at AS "lastSeenAt", resolved_at AS "resolvedAt", notified_at AS "notifiedAt"
     FROM alerts
     WHERE ($1::text IS NULL OR (resolved_at IS NULL) = ($1 = 'firing'))
       AND ($2::text IS NULL OR kind = $2)
       AND ($3::timestamptz IS NULL OR (opened_at, alert_id) < ($3, $4::uuid))
     ORDER BY opened_at DESC, alert_id DESC
     LIMIT $5`,
    [state, kind, openedAtMs === undefined ? undefined : new Date(Number(openedAtMs)), alertId, list.limit + 1],
  );
  return list.page(rows, (row) => [String(row.since.getTime()), row.alertId]);
}
