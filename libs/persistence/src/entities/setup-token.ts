import { Column, Entity, PrimaryColumn } from 'typeorm';

/** Lets whoever started the product make the first key: once, for a short time. */
@Entity('setup_tokens')
export class SetupToken {
  /** SHA-256. */
  @PrimaryColumn('bytea', { name: 'token_hash', primaryKeyConstraintName: 'setup_tokens_pkey' })
  tokenHash: Buffer;

  @Column('timestamp with time zone', { name: 'created_at', precision: 3, default: () => 'now()' })
  createdAt: Date;

  @Column('timestamp with time zone', { name: 'expires_at', precision: 3 })
  expiresAt: Date;

  @Column('timestamp with time zone', { name: 'used_at', precision: 3, nullable: true })
  usedAt: Date | null;
}
