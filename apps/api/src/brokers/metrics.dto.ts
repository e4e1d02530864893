import { ApiProperty } from '@nestjs/swagger';
import { MAX_TEXT_LENGTH } from '../http/cursor.js';
import { Instant, Text, WholeNumber } from '../http/parameters.js';

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
}

export class MetricPage {
  items: MetricValue[];
  /** Goes into `cursor` for the next page; null on the last one. */
  @ApiProperty({ type: String, nullable: true, example: null })
  nextCursor: string | null;
}

export class SeriesQuery {
  /**
   * Name of the metric, such as `clients/connected`.
   * @example 'clients/connected'
   */
  @Text({ max: MAX_TEXT_LENGTH, required: true })
  metric: string;

  /** From this time on (RFC 3339 with offset); without it 24 hours before `to`. */
  @Instant()
  from?: Date;

  /** Before this time, at most 31 days after `from`; without it, or when it is still to come, until now. */
  @Instant({ example: '2026-11-22T08:00:00Z' })
  to?: Date;

  /**
   * Most points: what they summarise gets longer with the range. It is at least one second, or one minute or hour where nothing shorter
   * is kept, and from a minute on whole minutes, from an hour on whole hours.
   */
  @WholeNumber({ min: 1, max: 2_000, default: 500 })
  points: number = 500;
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

export class MetricSeries {
  /** @example 'clients/connected' */
  metric: string;
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
  /** @example 172800 */
  @ApiProperty({ type: 'integer' })
  stepMs: number;
  /** In order of time. A time without a point is a gap: the broker was not heard, or had not published the metric since. */
  points: SeriesPoint[];
}
