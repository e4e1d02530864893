import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryGeneratedColumn } from 'typeorm';
import { BrokerSession } from './broker-session.js';

/** A client and a topic filter that it subscribed to, now or once. That it may read the topic is not said: brokers log refused filters too. */
@Entity('subscriptions')
@Index('subscriptions_client_topic_idx', ['broker', 'client', 'topic'], { unique: true })
@Index('idx_subscriptions_session', ['sessionId'])
@Index('idx_subscriptions_active_topic', { synchronize: false })
@Index('idx_subscriptions_wildcard', { synchronize: false })
export class BrokerSubscription {
  @PrimaryGeneratedColumn('increment', { type: 'bigint', primaryKeyConstraintName: 'subscriptions_pkey' })
  id: string;

  @Column('varchar', { length: 100 })
  broker: string;

  @Column('bigint', { name: 'session_id', nullable: true })
  sessionId: string | null;

  /** The session that was open at the last change. */
  @ManyToOne(() => BrokerSession, { onDelete: 'SET NULL', nullable: true })
  @JoinColumn({ name: 'session_id', foreignKeyConstraintName: 'fk_subscription_session' })
  session: BrokerSession | null;

  @Column('text')
  client: string;

  @Column('text')
  topic: string;

  @Column('smallint', { default: 0 })
  qos: number;

  @Column('boolean', { default: true })
  active: boolean;

  /** The broker may know better: how long it keeps the session of an MQTT 5 client, its log does not tell. */
  @Column('boolean', { default: false })
  uncertain: boolean;

  @Column('timestamp with time zone', { name: 'created_at', precision: 3, nullable: true })
  createdAt: Date | null;

  @Column('timestamp with time zone', { name: 'updated_at', precision: 3, nullable: true })
  updatedAt: Date | null;
}
