import { ApiProperty } from '@nestjs/swagger';
import { BATCH_STATUSES, type BatchStatus } from '@tallystick/persistence';
import { DIFFERENCE_REASONS, type DifferenceReason } from './batch-verification.js';

export class BatchDifference {
  /**
   * `payload_altered`: the bytes no longer have the stored hash or size. `message_altered`: another column that is hashed differs.
   * `message_moved`: it belongs to another place. `message_missing`, `message_added`: the batch was sealed with it, without it.
   * `tenant_altered`: not the batch's tenant. `raw_data_altered`: the searchable JSON is not the payload's.
   * `leaf_hashes_altered`: the hashes kept at sealing no longer make the batch's hash, so that no message can be named by them.
   */
  @ApiProperty({ enum: DIFFERENCE_REASONS, example: 'payload_altered' })
  reason: DifferenceReason;
  /** Null for a missing message. */
  @ApiProperty({ type: String, format: 'uuid', nullable: true, example: '019ab5e8-2c00-7000-8000-0000000000a1' })
  messageId: string | null;
  @ApiProperty({ type: 'integer', nullable: true, example: 0 })
  leafIndex: number | null;
}

/** Result of recomputing a batch from its rows. */
export class BatchVerificationResult {
  /** @example '019ab5e8-2c00-7000-8000-000000000001' */
  @ApiProperty({ format: 'uuid' })
  batchId: string;
  @ApiProperty({ enum: BATCH_STATUSES, example: 'complete' })
  status: BatchStatus;
  /** Everything agrees: the hash, the count and every message. */
  isValid: boolean;
  /**
   * The hash written at sealing; for a pending batch that of its last commit.
   * @example 'a3f5e9b2c1d8f7e6a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1'
   */
  storedHash: string;
  /** The hash of the rows that are there; null when there are none, or one cannot be a message. */
  @ApiProperty({ type: String, nullable: true, example: 'a3f5e9b2c1d8f7e6a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1' })
  calculatedHash: string | null;
  /** @example 1000 */
  @ApiProperty({ type: 'integer' })
  storedMessageCount: number;
  /** @example 1000 */
  @ApiProperty({ type: 'integer' })
  actualMessageCount: number;
  /**
   * How many differences there are.
   * @example 0
   */
  @ApiProperty({ type: 'integer' })
  differenceCount: number;
  /** The first 100 of them. */
  differences: BatchDifference[];
}
