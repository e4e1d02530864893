import { ApiProperty } from '@nestjs/swagger';
import { MAX_TEXT_LENGTH } from '../http/cursor.js';
import { ListQuery } from '../http/list-query.dto.js';
import { Flag, Instant, OneOf, Text, WholeNumber } from '../http/parameters.js';

export const STATS_BY = ['client', 'day'] as const;
export type StatsBy = (typeof STATS_BY)[number];

export const STATS_SORTS = ['sessions', 'totalDurationMs', 'client'] as const;
export type StatsSort = (typeof STATS_SORTS)[number];

export class SessionStatsQuery extends ListQuery {
  /** `client`: a row for each client with sessions in the range. `day`: one for each UTC day of it, newest first. */
  @OneOf(STATS_BY, { default: 'client' })
  by: StatsBy = 'client';

  /**
   * This client id, exactly.
   * @example 'ingest-bridge-1'
   */
  @Text({ max: MAX_TEXT_LENGTH })
  client?: string;

  /** Order of clients: most sessions first, longest total first, or by client id. Not with `by=day`. */
  @OneOf(STATS_SORTS)
  sort?: StatsSort;

  /** `true`: clients that flapped in the range; `false`: the others. Not with `by=day`. */
  @Flag()
  flapping?: boolean;

  /** Who connects so many times within `flappingMinutes` flaps. */
  @WholeNumber({ min: 2, max: 1_000, default: 5 })
  flappingConnects: number = 5;

  /** Any minutes of the range, not only whole ones of the clock. */
  @WholeNumber({ min: 1, max: 1_440, default: 10 })
  flappingMinutes: number = 10;

  /** Sessions begun at or after this time (RFC 3339 with offset); without it 24 hours before `to`. With `by=day` from the beginning of its day. */
  @Instant()
  from?: Date;

  /**
   * Sessions begun before this time; without it until now. With `by=day` to the end of its day. At most 366 days after `from`; of all
   * clients (`by=client` without `client`) 31 days, with `flapping` 7.
   */
  @Instant({ example: '2026-11-22T08:00:00Z' })
  to?: Date;
}

export class SessionStats {
  /** Null when all clients are summed up. */
  @ApiProperty({ type: String, nullable: true, example: 'meter-0001' })
  client: string | null;
  /** Of UTC, 24 hours; null when the whole range is summed up. */
  @ApiProperty({ type: String, format: 'date', nullable: true, example: null })
  day: string | null;
  /**
   * Sessions that began then: connections, and those that were first seen then (`startUncertain`).
   * @example 12
   */
  @ApiProperty({ type: 'integer' })
  sessions: number;
  /**
   * Sessions that ended then, whenever they began.
   * @example 11
   */
  @ApiProperty({ type: 'integer' })
  ended: number;
  /**
   * How often clients came or went: `sessions` and `ended` together.
   * @example 23
   */
  @ApiProperty({ type: 'integer' })
  churn: number;
  /**
   * Of `sessions` those that are open now.
   * @example 1
   */
  @ApiProperty({ type: 'integer' })
  open: number;
  /**
   * Of `sessions` those whose length is not known: their beginning was not seen, or they were open while nobody watched.
   * @example 0
   */
  @ApiProperty({ type: 'integer' })
  uncertain: number;
  /**
   * Of `sessions`, whole, also beyond the day or range in which they began; open ones until now, without uncertain ones.
   * @example 3600000
   */
  @ApiProperty({ type: 'integer' })
  totalDurationMs: number;
  /** Of the same sessions, exactly; null when there is none. */
  @ApiProperty({ type: 'integer', nullable: true, example: 240000 })
  medianDurationMs: number | null;
  /** The client connected `flappingConnects` times within `flappingMinutes`. Null with `by=day`. */
  @ApiProperty({ type: Boolean, nullable: true, example: true })
  flapping: boolean | null;
}

export class SessionStatsPage {
  items: SessionStats[];
  /** Goes into `cursor` for the next page; null on the last one. */
  @ApiProperty({ type: String, nullable: true, example: null })
  nextCursor: string | null;
}
