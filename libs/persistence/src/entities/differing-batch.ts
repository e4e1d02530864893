import { Column, Entity, JoinColumn, OneToOne, PrimaryColumn } from 'typeorm';
import { Batch } from './batch.js';

/** A batch whose last verification by the API found differences. */
@Entity('differing_batches')
export class DifferingBatch {
  @PrimaryColumn('uuid', { name: 'batch_id', primaryKeyConstraintName: 'differing_batches_pkey' })
  batchId: string;

  @OneToOne(() => Batch, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'batch_id', foreignKeyConstraintName: 'fk_batch' })
  batch: Batch;

  @Column('timestamp with time zone', { name: 'found_at', precision: 3, default: () => 'now()' })
  foundAt: Date;
}
