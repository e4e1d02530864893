import { Check, Column, Entity, Index, PrimaryColumn, PrimaryGeneratedColumn } from 'typeorm';

export const EVENT_ACTIONS = ['connected', 'disconnected', 'subscribe', 'unsubscribe', 'checkpoint', 'conn_info', 'unknown'] as const;
export type EventAction = (typeof EVENT_ACTIONS)[number];

/** One log line of a broker. Partitioned by day of receipt, because the broker's own clock may be wrong; never updated. */
@Entity('events')
@Check('check_event_action', `"action" IN (${EVENT_ACTIONS.map((action) => `'${action}'`).join(', ')})`)
@Index('idx_events_ts', { synchronize: false })
@Index('idx_events_action_ts', { synchronize: false })
@Index('idx_events_client_ts', { synchronize: false })
export class BrokerEvent {
  /** Ascends in order of arrival. */
  @PrimaryGeneratedColumn('increment', { type: 'bigint', primaryKeyConstraintName: 'events_pkey' })
  id: string;

  @Column('varchar', { length: 100 })
  broker: string;

  /** The line's own time in whole seconds, or that of its receipt when it has none. */
  @Column('timestamp with time zone', { precision: 3 })
  ts: Date;

  @Column('varchar', { length: 20 })
  action: EventAction;

  /** Exactly as the client sent it; null when the line names none, or not for certain. */
  @Column('text', { nullable: true })
  client: string | null;

  @Column('text', { nullable: true })
  topic: string | null;

  @Column('smallint', { nullable: true })
  qos: number | null;

  @Column('text', { nullable: true })
  username: string | null;

  /** The whole line, its time included; U+0000 is shown as U+FFFD. */
  @Column('text', { nullable: true })
  raw: string | null;

  @PrimaryColumn('timestamp with time zone', { name: 'received_at', precision: 3, primaryKeyConstraintName: 'events_pkey' })
  receivedAt: Date;

  @Column('text', { nullable: true })
  address: string | null;

  @Column('int', { nullable: true })
  port: number | null;

  /** Why, in the broker's words. */
  @Column('text', { nullable: true })
  reason: string | null;

  /** The broker cut the line. */
  @Column('boolean', { default: false })
  truncated: boolean;

  /** MQTT packet identifier of the delivery. */
  @Column('int', { name: 'packet_id', nullable: true })
  packetId: number | null;

  /** Equal lines of one second that this row stands for, where a broker writes one for every packet. */
  @Column('int', { name: 'line_count', default: 1 })
  lineCount: number;
}
