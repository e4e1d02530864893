import { Column, Entity, Index, PrimaryGeneratedColumn } from 'typeorm';

/** An administrative act. Only ever added to. */
@Entity('audit_log')
@Index('idx_audit_log_at', { synchronize: false })
export class AuditEntry {
  @PrimaryGeneratedColumn('increment', { type: 'bigint', name: 'entry_id', primaryKeyConstraintName: 'audit_log_pkey' })
  entryId: string;

  @Column('timestamp with time zone', { precision: 3, default: () => 'now()' })
  at: Date;

  /** `key:<id>`, `setup`, or `local:<user>` for the command line. */
  @Column('text')
  actor: string;

  @Column('varchar', { length: 40 })
  action: string;

  @Column('text', { nullable: true })
  object: string | null;

  @Column('jsonb', { nullable: true })
  details: Record<string, unknown> | null;

  @Column('varchar', { name: 'request_id', length: 64, nullable: true })
  requestId: string | null;
}
