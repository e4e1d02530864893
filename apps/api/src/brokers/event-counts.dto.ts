import { ApiProperty } from '@nestjs/swagger';
import { Instant, OneOf } from '../http/parameters.js';
import { type Bucket, BUCKETS } from './event-buckets.js';

export const COUNTED_BY = ['action', 'endReason'] as const;
export type CountedBy = (typeof COUNTED_BY)[number];

export class EventCountsQuery {
  /** Length of a point's time; points begin with whole minutes, hours and days of UTC. At most 2,000 of them. */
  @OneOf(BUCKETS, { default: 'hour' })
  bucket: Bucket = 'hour';

  /** `action`: what the events are. `endReason`: why sessions ended, those included of which no line told: the broker's own end. */
  @OneOf(COUNTED_BY, { default: 'action' })
  by: CountedBy = 'action';

  /** At or after this time by the broker's clock (RFC 3339 with offset); without it 24 hours before `to`. */
  @Instant()
  from?: Date;

  /** Before this time, at most 366 days after `from`; without it, or when it is still to come, until now. */
  @Instant({ example: '2026-11-22T08:00:00Z' })
  to?: Date;
}

export class EventCountPoint {
  /**
   * Beginning of its time.
   * @example '2026-11-21T08:00:00.000Z'
   */
  ts: Date;
  /** Log lines of this time are missing, or may be: a gap touches it, the watcher is away since, or there was none yet. */
  isIncomplete: boolean;
  /** How many of each action or reason: all of them, 0 included. An event that stands for equal lines of one second counts once. */
  @ApiProperty({
    type: 'object',
    additionalProperties: { type: 'integer' },
    example: { connected: 12, disconnected: 11, subscribe: 24, unsubscribe: 0, checkpoint: 1, conn_info: 12, unknown: 0 },
  })
  counts: Record<string, number>;
}

export class EventCounts {
  @ApiProperty({ enum: BUCKETS, example: 'hour' })
  bucket: Bucket;
  @ApiProperty({ enum: COUNTED_BY, example: 'action' })
  by: CountedBy;
  /**
   * Beginning of the first point's time.
   * @example '2026-11-21T08:00:00.000Z'
   */
  from: Date;
  /**
   * End of the last point's.
   * @example '2026-11-21T09:00:00.000Z'
   */
  to: Date;
  /** In order of time, none left out. */
  points: EventCountPoint[];
}
