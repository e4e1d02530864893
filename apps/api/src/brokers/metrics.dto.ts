import { ApiExtraModels, ApiProperty, getSchemaPath } from '@nestjs/swagger';
import { MAX_TEXT_LENGTH } from '../http/cursor.js';
import { Instant, OneOf, Text, WholeNumber } from '../http/parameters.js';
import { BrokerPath } from './brokers.dto.js';
import { RESOLUTIONS, type Resolution } from './series-plan.js';

/** What a series shows of a metric. */
export const SERIES_KINDS = ['value', 'rate', 'delta'] as const;
export type SeriesKind = (typeof SERIES_KINDS)[number];

export const MAX_SERIES_DAYS = 31;

export class MetricValue {
  /**
   * The topic behind `$SYS/broker/`.
   * @example 'clients/connected'
   */
  metric: string;
  /** @example 17 */
  value: number;
  /**
   * Receipt of the value. It stays valid until the next: only changed ones are published.
   * @example '2026-11-21T08:04:55.000Z'
   */
  ts: Date;
  /** The broker has not been heard since (`isStale` of its diagnostics): how it is now is not known. */
  isStale: boolean;
  /** It counts from the start of the broker on, so its series may be asked for as rate or delta. */
  isCounter: boolean;
}

export class MetricPage {
  items: MetricValue[];
  /** Goes into `cursor` for the next page; null on the last one. */
  @ApiProperty({ type: String, nullable: true, example: null })
  nextCursor: string | null;
}

export class MetricPath extends BrokerPath {
  /**
   * Name of the metric, URL-encoded: `clients%2Fconnected`.
   * @example 'publish/messages/received'
   */
  @Text({ max: MAX_TEXT_LENGTH, required: true })
  metric: string;
}

export class SeriesQuery {
  /** From this time on (RFC 3339 with offset); without it 24 hours before `to`. */
  @Instant()
  from?: Date;

  /** Before this time, at most 31 days after `from`; without it, or when it is still to come, until now. */
  @Instant({ example: '2026-11-22T08:00:00Z' })
  to?: Date;

  /**
   * `value`: what was measured. `delta`: by how much a counter rose in each step; `rate`: the same per second. What falls began anew at 0,
   * as a broker's counters do when it is restarted. Only of counters (`isCounter` of the metric).
   */
  @OneOf(SERIES_KINDS, { default: 'value' })
  as: SeriesKind = 'value';

  /**
   * Seconds that one point stands for, so that there are at most 2,000; without it about 500 are given, of rates and deltas none shorter
   * than a minute: a broker counts in rounds, every 10 s unless told otherwise. From a minute on steps are whole minutes, from an hour on
   * whole hours, and never shorter than what is kept of that time.
   * @example 600
   */
  @WholeNumber({ min: 1, max: MAX_SERIES_DAYS * 86_400 })
  step?: number;
}

export class SeriesPoint {
  /**
   * Beginning of its time, which lasts `stepMs`.
   * @example '2026-11-21T08:00:00.000Z'
   */
  ts: Date;
  /** @example 15 */
  min: number;
  /** @example 18 */
  max: number;
  /** @example 16.5 */
  avg: number;
  /** @example 17 */
  last: number;
  /**
   * Values that came in its time; 0 when the value before was still valid.
   * @example 2
   */
  @ApiProperty({ type: 'integer' })
  count: number;
}

export class SeriesDelta {
  /**
   * Beginning of its time, which lasts `stepMs`.
   * @example '2026-11-21T08:00:00.000Z'
   */
  ts: Date;
  /**
   * By how much the counter rose. The deltas of a range add up to the same whatever the steps are.
   * @example 1250
   */
  delta: number;
  /** It begins in a gap, or with a restart: what the counter rose since it was last heard is in it too. */
  includesGap: boolean;
}

export class SeriesRate {
  /**
   * Beginning of its time, which lasts `stepMs`.
   * @example '2026-11-21T08:00:00.000Z'
   */
  ts: Date;
  /**
   * Per second. Only of a time that is over, and of which the counter is known at both ends.
   * @example 20.8
   */
  rate: number;
}

const arrayOf = (model: typeof SeriesPoint | typeof SeriesDelta | typeof SeriesRate) => ({
  type: 'array',
  items: { $ref: getSchemaPath(model) },
});

@ApiExtraModels(SeriesPoint, SeriesDelta, SeriesRate)
export class MetricSeries {
  /** @example 'clients/connected' */
  metric: string;
  @ApiProperty({ enum: SERIES_KINDS, example: 'value' })
  as: SeriesKind;
  /**
   * Beginning of the first point: as asked for, or of the minute or hour in which that is, when points are whole ones.
   * @example '2026-11-20T08:05:00.000Z'
   */
  from: Date;
  /**
   * As asked for. The last point may reach beyond it.
   * @example '2026-11-21T08:05:00.000Z'
   */
  to: Date;
  /** @example 180000 */
  @ApiProperty({ type: 'integer' })
  stepMs: number;
  /**
   * What the points are made of. What has not been rolled up yet is read from what is shorter, and is the same.
   */
  @ApiProperty({ enum: RESOLUTIONS, example: 'minute' })
  resolution: Resolution;
  /** In order of time. A time without a point is a gap: the broker was not heard, or had not published the metric since. */
  @ApiProperty({ anyOf: [arrayOf(SeriesPoint), arrayOf(SeriesDelta), arrayOf(SeriesRate)] })
  points: SeriesPoint[] | SeriesDelta[] | SeriesRate[];
}
