import { ApiProperty } from '@nestjs/swagger';

export class SubscribedTopic {
  /**
   * The topic filter, exactly as clients sent it; a shared one with its group.
   * @example 'veep/+/+/+/commands'
   */
  topic: string;
  /**
   * Active subscriptions to it, one for each client, connected or not.
   * @example 120
   */
  @ApiProperty({ type: 'integer' })
  subscribers: number;
  /**
   * Of them those that the broker may have ended unseen.
   * @example 3
   */
  @ApiProperty({ type: 'integer' })
  uncertain: number;
}

export class PopularityPage {
  items: SubscribedTopic[];
  /** Goes into `cursor` for the next page; null on the last one. */
  @ApiProperty({ type: String, nullable: true, example: null })
  nextCursor: string | null;
}
