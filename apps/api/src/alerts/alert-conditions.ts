import type { Reader } from '../database/database.js';
import type { AlertFinding, Severity } from './alert-finding.js';
import type { AlertSettings } from './alert.settings.js';
import { findDroppingBrokers } from './broker-dropping.queries.js';
import { findFailedBatches } from './failed-batches.queries.js';
import { findGrowingQuarantine } from './quarantine-growing.queries.js';
import { findStalledIngest } from './stalled-ingest.queries.js';

export interface AlertCondition {
  severity: Severity;
  /** What is wrong now, of all tenants; what is missing from the answer has ended. Must be cheap: every process asks every few seconds. */
  find(read: Reader, settings: AlertSettings): Promise<AlertFinding[]>;
}

/** Everything that alerts are raised for. A new kind is a line here, and a section of docs/alerts.md. */
export const ALERT_CONDITIONS = {
  batch_failed: { severity: 'critical', find: findFailedBatches },
  broker_dropping: { severity: 'critical', find: findDroppingBrokers },
  ingest_stalled: { severity: 'critical', find: findStalledIngest },
  quarantine_growing: { severity: 'warning', find: findGrowingQuarantine },
} as const satisfies Record<string, AlertCondition>;

export type AlertKind = keyof typeof ALERT_CONDITIONS;
export const ALERT_KINDS = Object.keys(ALERT_CONDITIONS) as AlertKind[];
