import { Check, Column, Entity, Index, PrimaryColumn } from 'typeorm';

export const BATCH_STATUSES = ['pending', 'hashing', 'complete', 'failed', 'blockchain_pending', 'blockchain_confirmed'] as const;
export type BatchStatus = (typeof BATCH_STATUSES)[number];

export const CLOSE_REASONS = ['size', 'bytes', 'age', 'shutdown', 'recovery'] as const;
export type CloseReason = (typeof CLOSE_REASONS)[number];

/**
 * A Merkle batch of one tenant. At every COMMIT, while `pending`, open_root, message_count and end_timestamp describe
 * exactly the rows that carry this batch_id; batch_hash and leaf_hashes describe them from sealing on, for ever.
 */
@Entity('batches')
@Check('check_message_count', `"message_count" > 0`)
@Check('check_timestamps', `"end_timestamp" >= "start_timestamp"`)
@Check('check_status', `"status" IN (${BATCH_STATUSES.map((status) => `'${status}'`).join(', ')})`)
@Check('check_close_reason', `"close_reason" IN (${CLOSE_REASONS.map((reason) => `'${reason}'`).join(', ')})`)
@Index('idx_batches_status', ['status'])
@Index('idx_batches_hash', ['batchHash'])
@Index('idx_batches_created_at', { synchronize: false })
@Index('idx_batches_tenant_created_at', { synchronize: false })
@Index('idx_batches_receiver_created_at', { synchronize: false })
@Index('idx_batches_unlogged', { synchronize: false })
@Index('batches_log_index_key', ['logIndex'], { unique: true })
export class Batch {
  /** UUIDv7 made by the bridge. */
  @PrimaryColumn('uuid', { name: 'batch_id', primaryKeyConstraintName: 'batches_pkey' })
  batchId: string;

  @Column('varchar', { name: 'tenant_id', length: 100 })
  tenantId: string;

  /** Merkle root (RFC 6962), hex; final from sealing on. */
  @Column('varchar', { name: 'batch_hash', length: 64 })
  batchHash: string;

  @Column('int', { name: 'message_count' })
  messageCount: number;

  @Column('timestamp with time zone', { name: 'start_timestamp', precision: 3 })
  startTimestamp: Date;

  @Column('timestamp with time zone', { name: 'end_timestamp', precision: 3 })
  endTimestamp: Date;

  @Column('varchar', { length: 20, default: 'pending' })
  status: BatchStatus;

  @Column('varchar', { name: 'solana_tx_signature', length: 88, nullable: true })
  solanaTxSignature: string | null;

  @Column('bigint', { name: 'solana_block_number', nullable: true })
  solanaBlockNumber: string | null;

  @Column('timestamp with time zone', { name: 'created_at', precision: 3, default: () => 'now()' })
  createdAt: Date;

  @Column('timestamp with time zone', { name: 'confirmed_at', precision: 3, nullable: true })
  confirmedAt: Date | null;

  /** Merkle root of the rows committed so far (32 bytes). Not indexed: it changes with every commit. */
  @Column('bytea', { name: 'open_root' })
  openRoot: Buffer;

  @Column('timestamp with time zone', { name: 'sealed_at', precision: 3, nullable: true })
  sealedAt: Date | null;

  /** MQTT client id of the bridge that owns the batch. */
  @Column('varchar', { length: 100 })
  receiver: string;

  @Column('varchar', { name: 'close_reason', length: 20, nullable: true })
  closeReason: CloseReason | null;

  /** 32 bytes times message_count, in leaf order; set when sealed. */
  @Column('bytea', { name: 'leaf_hashes', nullable: true })
  leafHashes: Buffer | null;

  @Column('bigint', { name: 'log_index', nullable: true })
  logIndex: string | null;
}
