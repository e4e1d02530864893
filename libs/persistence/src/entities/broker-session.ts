import { Check, Column, Entity, Index, JoinColumn, ManyToOne, PrimaryGeneratedColumn } from 'typeorm';
import { BrokerClient } from './broker-client.js';

/** Why a connection ended, in the same words for every version of the broker. */
export const END_REASONS = [
  'clean_disconnect',
  'network',
  'keepalive_timeout',
  'taken_over',
  'protocol_error',
  'malformed',
  'oversize',
  'not_authorised',
  'administrative',
  'broker_restart',
  'unknown',
] as const;
export type EndReason = (typeof END_REASONS)[number];

/** Who closed the connection. */
export const ENDED_BY = ['client', 'broker', 'network', 'unknown'] as const;
export type EndedBy = (typeof ENDED_BY)[number];

/** One connection of a client; `end_ts` is null while it is open. */
@Entity('sessions')
@Check('check_session_end', `"end_ts" >= "start_ts"`)
@Check('check_ended_by', `"ended_by" IN (${ENDED_BY.map((by) => `'${by}'`).join(', ')})`)
@Index('sessions_client_ts_idx', { synchronize: false })
@Index('sessions_open_key', { synchronize: false })
@Index('idx_sessions_start', { synchronize: false })
@Index('idx_sessions_end_reason', { synchronize: false })
@Index('idx_sessions_ended_by', { synchronize: false })
export class BrokerSession {
  @PrimaryGeneratedColumn('increment', { type: 'bigint', primaryKeyConstraintName: 'sessions_pkey' })
  id: string;

  @Column('varchar', { length: 100 })
  broker: string;

  @Column('bigint', { name: 'client_id', nullable: true })
  clientId: string | null;

  @ManyToOne(() => BrokerClient, { onDelete: 'SET NULL', nullable: true })
  @JoinColumn({ name: 'client_id', foreignKeyConstraintName: 'fk_session_client' })
  clientRow: BrokerClient | null;

  @Column('text')
  client: string;

  @Column('text', { nullable: true })
  username: string | null;

  @Column('timestamp with time zone', { name: 'start_ts', precision: 3 })
  startTs: Date;

  @Column('timestamp with time zone', { name: 'end_ts', precision: 3, nullable: true })
  endTs: Date | null;

  @Column('text', { nullable: true })
  address: string | null;

  @Column('int', { nullable: true })
  port: number | null;

  /** 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5. */
  @Column('smallint', { name: 'protocol_version', nullable: true })
  protocolVersion: number | null;

  @Column('boolean', { name: 'clean_start', nullable: true })
  cleanStart: boolean | null;

  /** Seconds. */
  @Column('int', { nullable: true })
  keepalive: number | null;

  @Column('varchar', { name: 'end_reason', length: 20, nullable: true })
  endReason: EndReason | null;

  @Column('varchar', { name: 'ended_by', length: 10, nullable: true })
  endedBy: EndedBy | null;

  /** It began before `start_ts`. */
  @Column('boolean', { name: 'start_uncertain', default: false })
  startUncertain: boolean;

  /** It was open while nobody watched. */
  @Column('boolean', { name: 'end_uncertain', default: false })
  endUncertain: boolean;
}
