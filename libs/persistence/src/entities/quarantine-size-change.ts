import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm';

/** By how much a statement changed the size of the quarantine: the sum of all is what it holds. Triggers write it, trims add it up. */
@Entity('quarantine_size_changes')
export class QuarantineSizeChange {
  @PrimaryGeneratedColumn('increment', { name: 'change_id', type: 'bigint', primaryKeyConstraintName: 'quarantine_size_changes_pkey' })
  changeId: string;

  /** By quarantined_bytes; negative when rejections were removed. */
  @Column('bigint')
  bytes: string;
}
