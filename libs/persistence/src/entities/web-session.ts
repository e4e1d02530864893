import { Column, Entity, JoinColumn, ManyToOne, PrimaryColumn } from 'typeorm';
import { ApiKey } from './api-key.js';

/** A browser that has signed in with a key. */
@Entity('web_sessions')
export class WebSession {
  /** SHA-256 of what the cookie holds. */
  @PrimaryColumn('bytea', { name: 'session_hash', primaryKeyConstraintName: 'web_sessions_pkey' })
  sessionHash: Buffer;

  @Column('varchar', { name: 'key_id', length: 12 })
  keyId: string;

  @ManyToOne(() => ApiKey)
  @JoinColumn({ name: 'key_id', foreignKeyConstraintName: 'fk_key' })
  key: ApiKey;

  @Column('timestamp with time zone', { name: 'created_at', precision: 3, default: () => 'now()' })
  createdAt: Date;

  @Column('timestamp with time zone', { name: 'last_seen_at', precision: 3, default: () => 'now()' })
  lastSeenAt: Date;
}
