import { Check, Column, Entity, PrimaryColumn } from 'typeorm';

const key = { primaryKeyConstraintName: 'event_counts_pkey' };

/** How many events there were, by the broker's clock. Triggers write it in the transaction of the events. */
@Entity('event_counts')
@Check('check_event_bucket', `"bucket" IN ('minute', 'hour')`)
export class EventCount {
  @PrimaryColumn('varchar', { length: 100, ...key })
  broker: string;

  @PrimaryColumn('varchar', { length: 6, ...key })
  bucket: 'minute' | 'hour';

  /** Beginning of the minute or hour of UTC. */
  @PrimaryColumn('timestamp with time zone', { name: 'start_ts', precision: 3, ...key })
  startTs: Date;

  @PrimaryColumn('varchar', { length: 20, ...key })
  action: string;

  @Column('bigint')
  events: string;
}
