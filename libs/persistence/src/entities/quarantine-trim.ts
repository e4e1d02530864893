import { Check, Column, Entity, PrimaryGeneratedColumn } from 'typeorm';

export const TRIM_REASONS = ['age', 'size'] as const;
export type TrimReason = (typeof TRIM_REASONS)[number];

/** What trim_quarantine removed from rejected_messages, and why: its only writer. */
@Entity('quarantine_trims')
@Check('check_trim_reason', `"reason" IN (${TRIM_REASONS.map((reason) => `'${reason}'`).join(', ')})`)
export class QuarantineTrim {
  @PrimaryGeneratedColumn('increment', { name: 'trim_id', type: 'bigint', primaryKeyConstraintName: 'quarantine_trims_pkey' })
  trimId: string;

  @Column('timestamp with time zone', { name: 'trimmed_at', precision: 3, default: () => 'now()' })
  trimmedAt: Date;

  @Column('varchar', { length: 10 })
  reason: TrimReason;

  @Column('int', { name: 'removed_rows' })
  removedRows: number;

  /** By quarantined_bytes. */
  @Column('bigint', { name: 'removed_bytes' })
  removedBytes: string;

  @Column('timestamp with time zone', { name: 'oldest_received_at', precision: 3 })
  oldestReceivedAt: Date;

  @Column('timestamp with time zone', { name: 'newest_received_at', precision: 3 })
  newestReceivedAt: Date;
}
