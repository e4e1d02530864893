import { Check, Column, Entity, Index, PrimaryColumn } from 'typeorm';

export const REJECTION_REASONS = [
  'topic_mismatch',
  'topic_too_long',
  'identifier_too_long',
  'payload_too_large',
  'not_json',
  'not_object',
  'too_deep',
  'device_mismatch',
  'tenant_mismatch',
  'bad_timestamp',
  'device_limit',
  'database_refused',
] as const;
export type RejectionReason = (typeof REJECTION_REASONS)[number];

export const REJECTION_STATUSES = ['new', 'replay_requested', 'replayed', 'discarded'] as const;
export type RejectionStatus = (typeof REJECTION_STATUSES)[number];

/** Quarantine: what the bridge took but would not store as telemetry, with its bytes and the reason. */
@Entity('rejected_messages')
@Check('check_rejection_status', `"status" IN (${REJECTION_STATUSES.map((status) => `'${status}'`).join(', ')})`)
@Index('idx_rejected_messages_received_at', { synchronize: false })
@Index('idx_rejected_messages_tenant', { synchronize: false })
@Index('idx_rejected_messages_replay', { synchronize: false })
export class RejectedMessage {
  @PrimaryColumn('uuid', { name: 'rejection_id', primaryKeyConstraintName: 'rejected_messages_pkey' })
  rejectionId: string;

  @Column('timestamp with time zone', { name: 'received_at', precision: 3 })
  receivedAt: Date;

  /** Known when the topic fits the pattern, or did when it was last replayed. */
  @Column('varchar', { name: 'tenant_id', length: 100, nullable: true })
  tenantId: string | null;

  /** As received, but for U+0000, which PostgreSQL cannot hold: it is shown as U+FFFD. */
  @Column('text')
  topic: string;

  /** The bytes, up to a cap; `truncated` beyond it. */
  @Column('bytea')
  payload: Buffer;

  @Column('boolean', { default: false })
  truncated: boolean;

  /** Size of the whole payload in bytes. */
  @Column('int', { name: 'payload_size' })
  payloadSize: number;

  /** SHA-256 of the whole payload, lower-case hex. */
  @Column('varchar', { name: 'payload_hash', length: 64 })
  payloadHash: string;

  @Column('varchar', { length: 40 })
  reason: RejectionReason;

  @Column('text', { nullable: true })
  detail: string | null;

  @Column('varchar', { length: 100 })
  receiver: string;

  @Column('smallint')
  qos: number;

  @Column('int', { name: 'packet_id', nullable: true })
  packetId: number | null;

  @Column('varchar', { length: 20, default: 'new' })
  status: RejectionStatus;

  @Column('timestamp with time zone', { name: 'resolved_at', precision: 3, nullable: true })
  resolvedAt: Date | null;

  /** The message as which it was stored when it was replayed. No foreign key: messages go by the day. */
  @Column('uuid', { name: 'replayed_as', nullable: true })
  replayedAs: string | null;

  /** The transaction that stored it: `xmin` is the last one that changed it. NULL: stored before this column was there. */
  @Column('bigint', { name: 'stored_txid', nullable: true, default: () => 'txid_current()' })
  storedTxid: string | null;
}
