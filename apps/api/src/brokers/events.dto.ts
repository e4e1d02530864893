import { ApiProperty } from '@nestjs/swagger';
import { EVENT_ACTIONS, type EventAction } from '@tallystick/persistence';
import { MAX_TEXT_LENGTH } from '../http/cursor.js';
import { ListQuery } from '../http/list-query.dto.js';
import { Instant, OneOf, Text } from '../http/parameters.js';

export class EventsQuery extends ListQuery {
  /** Events of this kind only. */
  @OneOf(EVENT_ACTIONS)
  action?: EventAction;

  /**
   * This client id, exactly.
   * @example 'ingest-bridge-1'
   */
  @Text({ max: MAX_TEXT_LENGTH })
  client?: string;

  /** At or after this time by the broker's clock (RFC 3339 with offset). */
  @Instant()
  from?: Date;

  /** Before this time; at most 366 days after `from`. */
  @Instant({ example: '2026-11-22T08:00:00Z' })
  to?: Date;
}

export class EventSummary {
  /**
   * Ascends in order of arrival, a 64-bit integer.
   * @example '1524'
   */
  eventId: string;
  /**
   * The line's own time in whole seconds, or that of its receipt when it has none.
   * @example '2026-11-21T08:00:00.000Z'
   */
  ts: Date;
  /** @example '2026-11-21T08:00:00.120Z' */
  receivedAt: Date;
  /** `unknown`: a line that names no client, or that the watcher does not understand. */
  @ApiProperty({ enum: EVENT_ACTIONS, example: 'subscribe' })
  action: EventAction;
  /** Null when the line names none, or not for certain. */
  @ApiProperty({ type: String, nullable: true, example: 'meter-0001' })
  client: string | null;
  @ApiProperty({ type: String, nullable: true, example: 'veep/+/+/meter-0001/commands' })
  topic: string | null;
  @ApiProperty({ type: 'integer', nullable: true, example: 1 })
  qos: number | null;
  @ApiProperty({ type: String, nullable: true, example: null })
  username: string | null;
  @ApiProperty({ type: String, nullable: true, example: null })
  address: string | null;
  @ApiProperty({ type: 'integer', nullable: true, example: null })
  port: number | null;
  /** Why, in the broker's words. */
  @ApiProperty({ type: String, nullable: true, example: null })
  reason: string | null;
  /** The broker cut the line. */
  truncated: boolean;
  /** MQTT packet identifier of the delivery. */
  @ApiProperty({ type: 'integer', nullable: true, example: 12 })
  packetId: number | null;
  /**
   * Equal lines of one second that it stands for, where a broker writes one for every packet.
   * @example 1
   */
  @ApiProperty({ type: 'integer' })
  lineCount: number;
  /** The whole line, its time included. */
  @ApiProperty({ type: String, nullable: true, example: '1795248000: meter-0001 1 veep/+/+/meter-0001/commands' })
  raw: string | null;
}

export class EventPage {
  items: EventSummary[];
  /** Goes into `cursor` for the next page; null on the last one. */
  @ApiProperty({ type: String, nullable: true, example: null })
  nextCursor: string | null;
}
