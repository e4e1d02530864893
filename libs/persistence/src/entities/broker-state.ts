import { Column, Entity, PrimaryColumn } from 'typeorm';

/** What is known of a broker now, and how far it was watched. */
@Entity('broker_state')
export class BrokerState {
  @PrimaryColumn('varchar', { length: 100, primaryKeyConstraintName: 'broker_state_pkey' })
  broker: string;

  /** As the broker says it, such as `mosquitto version 2.0.11`. */
  @Column('text', { nullable: true })
  version: string | null;

  @Column('timestamp with time zone', { name: 'started_at', precision: 3, nullable: true })
  startedAt: Date | null;

  /** Seconds. */
  @Column('bigint', { name: 'last_uptime', nullable: true })
  lastUptime: string | null;

  /** When `last_uptime` was received. */
  @Column('timestamp with time zone', { name: 'uptime_at', precision: 3, nullable: true })
  uptimeAt: Date | null;

  /** The watcher was connected until then, at least. */
  @Column('timestamp with time zone', { name: 'watched_until', precision: 3, nullable: true })
  watchedUntil: Date | null;

  /** MQTT client id of the watcher. */
  @Column('varchar', { length: 100, nullable: true })
  watcher: string | null;

  /** What the broker has been seen to log and publish: what its diagnosis is made of. */
  @Column('jsonb', { default: '{}' })
  capabilities: Record<string, unknown>;
}
