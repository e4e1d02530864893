import { Column, Entity, PrimaryColumn } from 'typeorm';

/** The values of one metric that came in one minute or hour. None came: no row, and the last value is still valid while heartbeats come. */
abstract class BrokerMetricRollUp {
  @Column('double precision')
  min: number;

  @Column('double precision')
  max: number;

  @Column('double precision')
  avg: number;

  @Column('double precision')
  first: number;

  @Column('double precision')
  last: number;

  /** By how much a counter rose from the first value to the last; one that fell began anew at 0. */
  @Column('double precision')
  increase: number;

  @Column('int')
  count: number;

  @Column('timestamp with time zone', { name: 'first_ts', precision: 3 })
  firstTs: Date;

  @Column('timestamp with time zone', { name: 'last_ts', precision: 3 })
  lastTs: Date;

  /** Of the heartbeat only: the usual time from one to the next, which tells what a silence is. */
  @Column('interval', { name: 'usual_silence', nullable: true })
  usualSilence: unknown;

  /**
   * Of the heartbeat only: the last one that followed, within this minute or hour, another after a silence or a restart. What lies
   * between two rows is seen by comparing them.
   */
  @Column('timestamp with time zone', { name: 'broken_ts', precision: 3, nullable: true })
  brokenTs: Date | null;
}

/** By minute. Kept for METRICS_1M_DAYS. */
@Entity('broker_metrics_1m')
export class BrokerMetricMinute extends BrokerMetricRollUp {
  @PrimaryColumn('varchar', { length: 100, primaryKeyConstraintName: 'broker_metrics_1m_pkey' })
  broker: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'broker_metrics_1m_pkey' })
  metric: string;

  /** Beginning of the minute. */
  @PrimaryColumn('timestamp with time zone', { precision: 3, primaryKeyConstraintName: 'broker_metrics_1m_pkey' })
  ts: Date;
}

/** By hour, made of minutes. Kept for ever. */
@Entity('broker_metrics_1h')
export class BrokerMetricHour extends BrokerMetricRollUp {
  @PrimaryColumn('varchar', { length: 100, primaryKeyConstraintName: 'broker_metrics_1h_pkey' })
  broker: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'broker_metrics_1h_pkey' })
  metric: string;

  /** Beginning of the hour. */
  @PrimaryColumn('timestamp with time zone', { precision: 3, primaryKeyConstraintName: 'broker_metrics_1h_pkey' })
  ts: Date;
}
