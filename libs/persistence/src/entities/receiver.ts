import { Column, Entity, PrimaryColumn } from 'typeorm';

/** An MQTT client id under which a bridge receives, and what its session at the broker is subscribed to. */
@Entity('receivers')
export class Receiver {
  @PrimaryColumn('varchar', { length: 100, primaryKeyConstraintName: 'receivers_pkey' })
  receiver: string;

  @Column('text', { array: true, default: '{}' })
  filters: string[];

  /** Number of the process that receives under this name now; commits of an earlier one are refused. */
  @Column('bigint', { default: 0 })
  epoch: string;

  @Column('timestamp with time zone', { name: 'updated_at', precision: 3, default: () => 'now()' })
  updatedAt: Date;
}
