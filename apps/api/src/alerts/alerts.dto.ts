import { ApiProperty } from '@nestjs/swagger';
import { ListQuery } from '../http/list-query.dto.js';
import { OneOf } from '../http/parameters.js';
import { ALERT_KINDS, type AlertKind } from './alert-conditions.js';
import type { Severity } from './alert-finding.js';
import { ALERT_STATES, type AlertState } from './alert-notice.js';

export class AlertsQuery extends ListQuery {
  /** `firing`: it has not ended yet. */
  @OneOf(ALERT_STATES)
  state?: AlertState;

  /** Alerts of this kind alone. */
  @OneOf(ALERT_KINDS)
  kind?: AlertKind;
}

/** A condition that an operator must know of, from when it was first seen until it has ended. */
export class AlertSummary {
  /** @example '019ab5e8-2c00-7000-8000-0000000000c1' */
  @ApiProperty({ format: 'uuid' })
  alertId: string;
  /**
   * `batch_failed`: a batch does not agree with its messages. `broker_dropping`: a broker throws messages away. `ingest_stalled`: messages
   * come and are not stored, or batches are not sealed. `quarantine_growing`: many messages are rejected. Later versions may know more.
   */
  @ApiProperty({ type: String, example: 'broker_dropping' })
  kind: string;
  @ApiProperty({ enum: ['critical', 'warning'], example: 'critical' })
  severity: Severity;
  @ApiProperty({ enum: ALERT_STATES, example: 'firing' })
  state: AlertState;
  /**
   * What it is about: `batches`, `quarantine`, or `broker/` and a name. A kind has at most one firing alert for each.
   * @example 'broker/local'
   */
  subject: string;
  /**
   * One sentence, as it was when the condition was last seen.
   * @example 'The broker local dropped 12 messages within five minutes.'
   */
  summary: string;
  /** Figures and names, by kind. */
  @ApiProperty({
    type: 'object',
    additionalProperties: true,
    example: { broker: 'local', dropped: 12, lastAt: '2026-11-21T08:00:00.000Z' },
  })
  details: Record<string, unknown>;
  /**
   * Where the API shows more.
   * @example '/api/v1/brokers/local/diagnostics'
   */
  link: string;
  /** @example '2026-11-21T08:00:05.000Z' */
  since: Date;
  /** @example '2026-11-21T08:04:50.000Z' */
  lastSeenAt: Date;
  /** When it ended; null before. */
  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: null })
  resolvedAt: Date | null;
  /** When the receiver of ALERT_WEBHOOK_URL last took a notice of it; null before. */
  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: '2026-11-21T08:00:06.000Z' })
  notifiedAt: Date | null;
}

export class AlertPage {
  items: AlertSummary[];
  /** Goes into `cursor` for the next page; null on the last one. */
  @ApiProperty({ type: String, nullable: true, example: null })
  nextCursor: string | null;
}
