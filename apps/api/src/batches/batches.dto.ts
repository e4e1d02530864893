import { ApiProperty } from '@nestjs/swagger';
import { BATCH_STATUSES, CLOSE_REASONS, type BatchStatus, type CloseReason } from '@tallystick/persistence';
import { IsIn, IsOptional } from 'class-validator';
import { ListQuery } from '../http/list-query.dto.js';
import { Identifier, Instant, Uuid } from '../http/parameters.js';

export class BatchPath {
  /**
   * Id of the batch, from the list of batches.
   * @example '019ab5e8-2c00-7000-8000-000000000001'
   */
  @Uuid({ required: true })
  batchId: string;
}

export class BatchesQuery extends ListQuery {
  /** `pending`: still being filled; items then have `ageMs`. */
  @ApiProperty({ enum: BATCH_STATUSES, required: false, example: 'complete' })
  @IsOptional()
  @IsIn(BATCH_STATUSES, { message: `must be one of ${BATCH_STATUSES.join(', ')}` })
  status?: BatchStatus;

  /**
   * Batches of this tenant only.
   * @example 'factory1'
   */
  @Identifier()
  tenantId?: string;

  /** Made at or after this time (RFC 3339 with offset). */
  @Instant()
  from?: Date;

  /** Made before this time; at most 366 days after `from`. */
  @Instant({ example: '2026-11-22T08:00:00Z' })
  to?: Date;
}

export class BatchSummary {
  /** @example '019ab5e8-2c00-7000-8000-000000000001' */
  @ApiProperty({ format: 'uuid' })
  batchId: string;
  /** @example 'factory1' */
  tenantId: string;
  @ApiProperty({ enum: BATCH_STATUSES, example: 'complete' })
  status: BatchStatus;
  /**
   * Merkle root (RFC 6962) over the batch's messages, hex; null until the batch is sealed.
   * @example 'a3f5e9b2c1d8f7e6a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1'
   */
  @ApiProperty({ type: String, nullable: true })
  batchHash: string | null;
  /** @example 1000 */
  @ApiProperty({ type: 'integer' })
  messageCount: number;
  /**
   * Receipt of the first message.
   * @example '2026-11-21T08:00:00.000Z'
   */
  startTimestamp: Date;
  /**
   * Receipt of the last message so far.
   * @example '2026-11-21T08:05:00.000Z'
   */
  endTimestamp: Date;
  /** @example '2026-11-21T08:00:00.012Z' */
  createdAt: Date;
  /** @example '2026-11-21T08:05:00.020Z' */
  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  sealedAt: Date | null;
  /** What sealed it. */
  @ApiProperty({ type: String, enum: [...CLOSE_REASONS, null], nullable: true, example: 'size' })
  closeReason: CloseReason | null;
  /**
   * Place in the transparency log, a 64-bit integer; null until it is there.
   * @example '17'
   */
  @ApiProperty({ type: String, nullable: true })
  logIndex: string | null;
  /** Milliseconds since the first message, while `pending`; null afterwards. */
  @ApiProperty({ type: 'integer', nullable: true, example: null })
  ageMs: number | null;
}

export class BatchDevice {
  /** @example 'SENSOR_001' */
  deviceId: string;
  /** @example 500 */
  @ApiProperty({ type: 'integer' })
  messageCount: number;
}

export class BatchDetails extends BatchSummary {
  /**
   * Rows that carry this batch's id now; differs from `messageCount` only when rows were removed or added.
   * @example 1000
   */
  @ApiProperty({ type: 'integer' })
  actualMessageCount: number;
  /** Devices with messages in the batch, by id. */
  devices: BatchDevice[];
  /**
   * Payload bytes of all its messages together, a 64-bit integer.
   * @example '131072'
   */
  sizeBytes: string;
  /**
   * Merkle root over the messages committed so far, hex; equals `batchHash` once sealed.
   * @example 'a3f5e9b2c1d8f7e6a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1'
   */
  openRoot: string;
  /**
   * MQTT client id of the bridge that filled it.
   * @example 'tallystick-ingest'
   */
  receiver: string;
  @ApiProperty({ type: String, nullable: true, example: null })
  solanaTxSignature: string | null;
  /** A 64-bit integer. */
  @ApiProperty({ type: String, nullable: true, example: null })
  solanaBlockNumber: string | null;
  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: null })
  confirmedAt: Date | null;
}

export class BatchPage {
  items: BatchSummary[];
  /** Goes into `cursor` for the next page; null on the last one. */
  @ApiProperty({ type: String, nullable: true, example: null })
  nextCursor: string | null;
}
