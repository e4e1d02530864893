import { Column, Entity, PrimaryColumn } from 'typeorm';

/** How far the metrics of a broker are rolled up, and what is left of what was. */
@Entity('broker_metric_roll_ups')
export class BrokerMetricRollUpState {
  @PrimaryColumn('varchar', { length: 100, primaryKeyConstraintName: 'broker_metric_roll_ups_pkey' })
  broker: string;

  /** Every value before it is in minutes, but for the minutes in broker_metrics_late; every whole hour before it is in hours. */
  @Column('timestamp with time zone', { name: 'rolled_until', precision: 3 })
  rolledUntil: Date;

  /** Values before it have been removed; null: none have. */
  @Column('timestamp with time zone', { name: 'raw_from', precision: 3, nullable: true })
  rawFrom: Date | null;

  /** Minutes before it are being removed; null: none are. */
  @Column('timestamp with time zone', { name: 'minutes_from', precision: 3, nullable: true })
  minutesFrom: Date | null;
}

/** A minute that was rolled up before a value of it came, and is to be again. */
@Entity('broker_metrics_late')
export class LateBrokerMetric {
  @PrimaryColumn('varchar', { length: 100, primaryKeyConstraintName: 'broker_metrics_late_pkey' })
  broker: string;

  /** Beginning of the minute. */
  @PrimaryColumn('timestamp with time zone', { precision: 3, primaryKeyConstraintName: 'broker_metrics_late_pkey' })
  ts: Date;
}
