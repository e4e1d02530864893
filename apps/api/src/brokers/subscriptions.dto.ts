import { ApiProperty } from '@nestjs/swagger';
import { MAX_TEXT_LENGTH } from '../http/cursor.js';
import { ListQuery } from '../http/list-query.dto.js';
import { Flag, Text } from '../http/parameters.js';

export class SubscriptionsQuery extends ListQuery {
  /**
   * This client id, exactly.
   * @example 'ingest-bridge-1'
   */
  @Text({ max: MAX_TEXT_LENGTH })
  client?: string;

  /**
   * This topic filter, exactly as the client sent it: `veep/+/#` means the filter of this name.
   * @example 'veep/+/+/+/data'
   */
  @Text({ max: MAX_TEXT_LENGTH })
  topic?: string;

  /** `false`: those that are over. */
  @Flag({ default: true })
  active: boolean = true;
}

export class SubscriptionSummary {
  /** @example 'meter-0001' */
  client: string;
  /**
   * The topic filter. Of a shared one (`$share/<group>/…`) each message goes to one member of the group.
   * @example 'veep/+/+/meter-0001/commands'
   */
  topic: string;
  /** @example 1 */
  @ApiProperty({ type: 'integer' })
  qos: number;
  active: boolean;
  /**
   * The broker may know better: how long it keeps the session of an MQTT 5 client its log does not tell. Also of every active one
   * while nobody watches the broker.
   */
  uncertain: boolean;
  /**
   * The client is connected; a stored session keeps its subscriptions, and the broker what comes for them, while it is not. Null
   * while nobody watches the broker: that is not known.
   */
  @ApiProperty({ type: Boolean, nullable: true, example: true })
  connected: boolean | null;
  /** The session that was open at the last change, a 64-bit integer. */
  @ApiProperty({ type: String, nullable: true, example: '4711' })
  sessionId: string | null;
  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: '2026-11-21T08:00:00.000Z' })
  createdAt: Date | null;
  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: '2026-11-21T08:00:00.000Z' })
  updatedAt: Date | null;
}

export class SubscriptionPage {
  items: SubscriptionSummary[];
  /** Goes into `cursor` for the next page; null on the last one. */
  @ApiProperty({ type: String, nullable: true, example: null })
  nextCursor: string | null;
}
