import { Check, Column, Entity, Index, PrimaryGeneratedColumn } from 'typeorm';

export const GAP_REASONS = ['watcher_down', 'broker_down', 'log_expired', 'queue_overflow'] as const;
export type GapReason = (typeof GAP_REASONS)[number];

/** A time of which log lines are missing: what happened then is not in events, and sessions across it are uncertain. */
@Entity('observation_gaps')
@Check('check_gap_reason', `"reason" IN (${GAP_REASONS.map((reason) => `'${reason}'`).join(', ')})`)
@Check('check_gap_span', `"to_ts" >= "from_ts"`)
@Index('idx_observation_gaps_from', ['broker', 'fromTs'])
export class ObservationGap {
  @PrimaryGeneratedColumn('increment', { type: 'bigint', primaryKeyConstraintName: 'observation_gaps_pkey' })
  id: string;

  @Column('varchar', { length: 100 })
  broker: string;

  @Column('timestamp with time zone', { name: 'from_ts', precision: 3 })
  fromTs: Date;

  @Column('timestamp with time zone', { name: 'to_ts', precision: 3 })
  toTs: Date;

  @Column('varchar', { length: 20 })
  reason: GapReason;
}
