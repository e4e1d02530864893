import type { Severity } from './alert-finding.js';

export const ALERT_STATES = ['firing', 'resolved'] as const;
export type AlertState = (typeof ALERT_STATES)[number];

/** An alert whose next notice is to be delivered. */
export interface DueAlert {
  alertId: string;
  kind: string;
  severity: Severity;
  /** What is to be told. One that has ended before anybody was told of it is told as firing first. */
  state: AlertState;
  subject: string;
  summary: string;
  details: Record<string, unknown>;
  path: string;
  openedAt: Date;
  resolvedAt: Date | null;
  /** How many notices of it were taken before. */
  notices: number;
}

/** One POST: the body as JSON text, and an id that is the same for every try of it. */
export interface AlertNotice {
  id: string;
  body: string;
}

/** The notice of an alert, version 1 of its format (docs/alerts.md). `publicUrl` goes before the path of its link. */
export function alertNotice(alert: DueAlert, publicUrl = ''): AlertNotice {
  const { alertId, kind, severity, state, subject, details, notices } = alert;
  const summary = state === 'firing' ? alert.summary : `Over: ${alert.summary}`;
  const body = {
    version: 1,
    id: alertId,
    kind,
    severity,
    state,
    subject,
    summary,
    // What Slack and those who take its messages show.
    text: `[${state === 'firing' ? severity : state}] ${summary}`,
    since: alert.openedAt,
    resolvedAt: state === 'resolved' ? alert.resolvedAt : null,
    details,
    link: publicUrl.replace(/\/+$/, '') + alert.path,
  };
  return { id: `${alertId}_${state}_${notices + 1}`, body: JSON.stringify(body) };
}
