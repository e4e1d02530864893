import { ApiProperty, OmitType, PickType } from '@nestjs/swagger';
import { EventsQuery } from '../brokers/events.dto.js';
import { MetricValue } from '../brokers/metrics.dto.js';
import { MAX_TEXT_LENGTH } from '../http/cursor.js';
import { Identifier, Instant, OneOf, Text } from '../http/parameters.js';
import { MessageDetails, MessagesQuery } from '../messages/messages.dto.js';
import { EXPORT_FORMATS, type ExportFormatName } from './export-format.js';

/** Without `batchId` and `from` the export begins 24 hours before `to` or now. */
export class ExportMessagesQuery extends PickType(MessagesQuery, ['deviceId', 'tenantId', 'batchId', 'from', 'to'] as const) {
  /** `ndjson`: a JSON object by line, the last one with count and hash. `csv`: a header and a row for each. */
  @OneOf(EXPORT_FORMATS, { default: 'ndjson' })
  format: ExportFormatName = 'ndjson';
}

export class ExportEventsQuery extends PickType(EventsQuery, ['action', 'client', 'from', 'to'] as const) {
  /**
   * `BROKER_NAME` of the broker's watcher.
   * @example 'local'
   */
  @Identifier({ required: true })
  broker: string;

  /** `ndjson`: a JSON object by line, the last one with count and hash. `csv`: a header and a row for each. */
  @OneOf(EXPORT_FORMATS, { default: 'ndjson' })
  format: ExportFormatName = 'ndjson';
}

export class ExportMetricsQuery {
  /**
   * `BROKER_NAME` of the broker's watcher.
   * @example 'local'
   */
  @Identifier({ required: true })
  broker: string;

  /**
   * This metric only, such as `clients/connected`.
   * @example 'clients/connected'
   */
  @Text({ max: MAX_TEXT_LENGTH })
  metric?: string;

  /** At or after this time (RFC 3339 with offset); without it 24 hours before `to` or now. */
  @Instant()
  from?: Date;

  /** Before this time; at most 366 days after `from`. */
  @Instant({ example: '2026-11-22T08:00:00Z' })
  to?: Date;

  /** `ndjson`: a JSON object by line, the last one with count and hash. `csv`: a header and a row for each. */
  @OneOf(EXPORT_FORMATS, { default: 'ndjson' })
  format: ExportFormatName = 'ndjson';
}

/** One message of an export: with `nonce`, all that its leaf is computed from. */
export class ExportedMessage extends OmitType(MessageDetails, ['rawData', 'rawDataError', 'batch'] as const) {
  /**
   * The bytes exactly as they were received, in base64; SHA-256 of them is `messageHash`.
   * @example 'eyJkZXZpY2VJZCI6IlNFTlNPUl8wMDEiLCJrd2giOjE1Ljd9'
   */
  payload: string;
}

/** One metric's value of an export. */
export class ExportedMetric extends PickType(MetricValue, ['metric', 'value', 'ts'] as const) {}

export class ExportCount {
  /**
   * Lines before this one.
   * @example 3
   */
  @ApiProperty({ type: 'integer' })
  count: number;
  /**
   * SHA-256 of all bytes before this line, in hex.
   * @example 'b4c5d6e7f8a9b0c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5'
   */
  sha256: string;
}

/** The last line of an NDJSON export. A file without it is not complete. */
export class ExportEnd {
  _end: ExportCount;
}
