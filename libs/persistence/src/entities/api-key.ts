import { Check, Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** Who may ask the API for what. The secret itself is not here. */
@Entity('api_keys')
@Check('check_kind', `"kind" IN ('tenant', 'platform') AND ("kind" = 'tenant') = ("tenant_id" IS NOT NULL)`)
@Check('check_secret_hash', `octet_length("secret_hash") = 32`)
@Index('idx_api_keys_created_at', { synchronize: false })
export class ApiKey {
  @PrimaryColumn('varchar', { name: 'key_id', length: 12, primaryKeyConstraintName: 'api_keys_pkey' })
  keyId: string;

  @Column('varchar', { length: 10 })
  kind: 'tenant' | 'platform';

  /** The one tenant whose rows a tenant's key sees. */
  @Column('varchar', { name: 'tenant_id', length: 100, nullable: true })
  tenantId: string | null;

  @Column('text', { array: true })
  scopes: string[];

  /** SHA-256. */
  @Column('bytea', { name: 'secret_hash' })
  secretHash: Buffer;

  @Column('varchar', { length: 100 })
  label: string;

  @Column('timestamp with time zone', { name: 'created_at', precision: 3, default: () => 'now()' })
  createdAt: Date;

  @Column('timestamp with time zone', { name: 'expires_at', precision: 3, nullable: true })
  expiresAt: Date | null;

  /** To the minute. */
  @Column('timestamp with time zone', { name: 'last_used_at', precision: 3, nullable: true })
  lastUsedAt: Date | null;

  @Column('timestamp with time zone', { name: 'revoked_at', precision: 3, nullable: true })
  revokedAt: Date | null;
}
