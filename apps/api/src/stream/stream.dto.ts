import { ApiProperty } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { ArrayMaxSize, Length, Matches } from 'class-validator';
import { MOST_TOPIC_LEVELS } from '../brokers/receiving-filters.js';

const MOST_FILTERS = 20;
/** MQTT 5 section 4.7: `+` is a whole level, `#` a whole level and the last. Sharing a stream has no meaning. */
const TOPIC_FILTER = new RegExp(`^(?!\\$share/)(?:(?:\\+|[^+#/\\u0000]*)/){0,${MOST_TOPIC_LEVELS - 1}}(?:\\+|#|[^+#/\\u0000]*)$`);

export class StreamQuery {
  /** MQTT topic filters, such as `veep/factory1/#`; give the parameter again for each further one. */
  @ApiProperty({ type: [String], minItems: 1, maxItems: MOST_FILTERS, example: ['veep/factory1/#'] })
  @Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? [value] : value))
  @ArrayMaxSize(MOST_FILTERS, { message: `must be given at least once and at most ${MOST_FILTERS} times` })
  @Length(1, 255, { each: true, message: 'must have 1 to 255 characters' })
  @Matches(TOPIC_FILTER, { each: true, message: `must be a topic filter of at most ${MOST_TOPIC_LEVELS} levels, not below $share/` })
  topics: string[];
}
