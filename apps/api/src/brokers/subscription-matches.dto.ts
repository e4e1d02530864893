import { ApiProperty } from '@nestjs/swagger';
import { Matches } from 'class-validator';
import { MAX_TEXT_LENGTH } from '../http/cursor.js';
import { ListQuery } from '../http/list-query.dto.js';
import { Text } from '../http/parameters.js';
import { MOST_TOPIC_LEVELS } from './receiving-filters.js';
import { SubscriptionSummary } from './subscriptions.dto.js';

const TOPIC_NAME = new RegExp(`^(?!\\$share/)(?:[^+#/]*/){0,${MOST_TOPIC_LEVELS - 1}}[^+#/]*$`);

export class MatchQuery extends ListQuery {
  /**
   * The topic name that a message is published to.
   * @example 'veep/factory1/line1/METER_0001/data'
   */
  @Text({ max: MAX_TEXT_LENGTH, required: true })
  @Matches(TOPIC_NAME, { message: `must be a topic name: without + and #, not below $share/, of at most ${MOST_TOPIC_LEVELS} levels` })
  topic: string;

  /**
   * Whether this client id receives it, exactly.
   * @example 'ingest-bridge-1'
   */
  @Text({ max: MAX_TEXT_LENGTH })
  client?: string;
}

export class SubscriptionMatch extends SubscriptionSummary {
  /** Of a shared subscription (`$share/<group>/…`) its group: each message goes to one of the members that have the same topic filter. */
  @ApiProperty({ type: String, nullable: true, example: null })
  shareGroup: string | null;
  /** How many members share this topic filter; null when it is not shared. */
  @ApiProperty({ type: 'integer', nullable: true, example: null })
  shareMembers: number | null;
}

export class MatchPage {
  items: SubscriptionMatch[];
  /** Goes into `cursor` for the next page; null on the last one. */
  @ApiProperty({ type: String, nullable: true, example: null })
  nextCursor: string | null;
}
