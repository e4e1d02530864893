import { Check, Column, Entity, PrimaryColumn } from 'typeorm';

const key = { primaryKeyConstraintName: 'session_end_counts_pkey' };

/** How many sessions ended, by the broker's clock. Triggers write it in the transaction of the sessions. */
@Entity('session_end_counts')
@Check('check_session_end_bucket', `"bucket" IN ('minute', 'hour')`)
export class SessionEndCount {
  @PrimaryColumn('varchar', { length: 100, ...key })
  broker: string;

  @PrimaryColumn('varchar', { length: 6, ...key })
  bucket: 'minute' | 'hour';

  /** Beginning of the minute or hour of UTC. */
  @PrimaryColumn('timestamp with time zone', { name: 'start_ts', precision: 3, ...key })
  startTs: Date;

  @PrimaryColumn('varchar', { name: 'end_reason', length: 20, ...key })
  endReason: string;

  @Column('bigint')
  sessions: string;
}
