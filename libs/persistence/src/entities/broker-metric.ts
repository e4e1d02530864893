import { Column, Entity, Index, PrimaryColumn, PrimaryGeneratedColumn } from 'typeorm';

/** One numeric value that a broker published about itself. Partitioned by day; a value stays valid until the next one of its metric. */
@Entity('broker_metrics')
@Index('idx_broker_metrics_metric_ts', { synchronize: false })
export class BrokerMetric {
  @PrimaryGeneratedColumn('increment', { type: 'bigint', primaryKeyConstraintName: 'broker_metrics_pkey' })
  id: string;

  /** Logical name of the broker: BROKER_NAME of its watcher. */
  @Column('varchar', { length: 100 })
  broker: string;

  /** The topic behind `$SYS/broker/`, such as `clients/total`. */
  @Column('text')
  metric: string;

  @Column('double precision')
  value: number;

  /** Receipt, by the watcher's clock. */
  @PrimaryColumn('timestamp with time zone', { precision: 3, primaryKeyConstraintName: 'broker_metrics_pkey' })
  ts: Date;
}
