import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** A condition that an operator must know of, from when it was first seen until it has ended. At most one is open of a kind and subject. */
@Entity('alerts')
@Index('idx_alerts_open', { synchronize: false })
@Index('idx_alerts_opened_at', { synchronize: false })
@Index('idx_alerts_next_attempt_at', { synchronize: false })
export class Alert {
  @PrimaryColumn('uuid', { name: 'alert_id', primaryKeyConstraintName: 'alerts_pkey' })
  alertId: string;

  /** Not an enumeration: a new kind needs no migration, and an older process delivers what a newer one has opened. */
  @Column('varchar', { length: 40 })
  kind: string;

  /** What it is about: `batches`, `quarantine`, `broker/<name>`. */
  @Column('text')
  subject: string;

  @Column('varchar', { length: 10 })
  severity: string;

  /** One sentence. */
  @Column('text')
  summary: string;

  @Column('jsonb')
  details: Record<string, unknown>;

  /** Where the API shows more. */
  @Column('text')
  path: string;

  @Column('timestamp with time zone', { name: 'opened_at', precision: 3, default: () => 'now()' })
  openedAt: Date;

  @Column('timestamp with time zone', { name: 'last_seen_at', precision: 3, default: () => 'now()' })
  lastSeenAt: Date;

  @Column('timestamp with time zone', { name: 'resolved_at', precision: 3, nullable: true })
  resolvedAt: Date | null;

  /** Of what does not end by itself, how much there is: more than `notified_level` is told again. */
  @Column('int')
  level: number;

  @Column('int', { name: 'notified_level', default: 0 })
  notifiedLevel: number;

  /** When the receiver last took a notice of it. */
  @Column('timestamp with time zone', { name: 'notified_at', precision: 3, nullable: true })
  notifiedAt: Date | null;

  /** How many notices of it the receiver took. */
  @Column('int', { default: 0 })
  notices: number;

  /** Tries of the notice that is due; 0 once it was taken. */
  @Column('int', { default: 0 })
  attempts: number;

  /** When the next notice is due, or, while a process delivers it, until when it has the sole right to. Null: nothing is to be told. */
  @Column('timestamp with time zone', { name: 'next_attempt_at', precision: 3, nullable: true, default: () => 'now()' })
  nextAttemptAt: Date | null;
}
