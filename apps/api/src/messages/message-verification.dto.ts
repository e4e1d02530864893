import { ApiProperty } from '@nestjs/swagger';
import { BATCH_STATUSES, type BatchStatus } from '@tallystick/persistence';
import { MESSAGE_FAULTS, type MessageFault } from '../batches/batch-verification.js';

/** Result of recomputing a message from its row. */
export class MessageVerificationResult {
  /** @example '019ab5e8-2c00-7000-8000-0000000000a1' */
  @ApiProperty({ format: 'uuid' })
  messageId: string;
  /** @example '019ab5e8-2c00-7000-8000-000000000001' */
  @ApiProperty({ format: 'uuid' })
  batchId: string;
  @ApiProperty({ enum: BATCH_STATUSES, example: 'complete' })
  batchStatus: BatchStatus;
  /** The bytes have the stored hash, the leaf is at its place, and the batch's leaves have the batch's root. */
  isValid: boolean;
  /**
   * The `messageHash` stored with it.
   * @example 'b4c5d6e7f8a9b0c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5'
   */
  storedHash: string;
  /**
   * SHA-256 of the payload bytes that are there.
   * @example 'b4c5d6e7f8a9b0c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5'
   */
  calculatedHash: string;
  /** @example 0 */
  @ApiProperty({ type: 'integer' })
  leafIndex: number;
  /** Hash of the message's leaf as its columns make it; null when they cannot be those of a message. */
  @ApiProperty({ type: String, nullable: true, example: '5f8a3c0e9d1b7246a5e4c3b2d1f09e8d7c6b5a4938271605f4e3d2c1b0a99887' })
  leafHash: string | null;
  /** Whether the batch's tree has this leaf at `leafIndex`. */
  isInBatch: boolean;
  /**
   * Root of the batch: that of its sealing; of a pending one that of its last commit.
   * @example 'a3f5e9b2c1d8f7e6a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1'
   */
  storedRoot: string;
  /** Root over the batch's leaves, of which this message's is one; null when a row cannot be a message. */
  @ApiProperty({ type: String, nullable: true, example: 'a3f5e9b2c1d8f7e6a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1' })
  calculatedRoot: string | null;
  /**
   * What is wrong with this message. `payload_altered`: the bytes no longer have the stored hash or size. `message_altered`: another
   * column that is hashed differs. `message_moved`: it belongs to another place. `message_added`: the batch was sealed without it.
   * `tenant_altered`: not the batch's tenant. `raw_data_altered`: the searchable JSON is not the payload's.
   */
  @ApiProperty({ enum: MESSAGE_FAULTS, isArray: true, example: [] })
  faults: MessageFault[];
}
