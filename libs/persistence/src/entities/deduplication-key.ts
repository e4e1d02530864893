import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** A message that is stored or quarantined, as its publisher names it (`DEDUP_KEY`): no second one of the same name is stored. */
@Entity('deduplication_keys')
export class DeduplicationKey {
  /** SHA-256 of `<octets of the topic>:<topic><key>`. */
  @PrimaryColumn('bytea', { name: 'key_hash', primaryKeyConstraintName: 'deduplication_keys_pkey' })
  keyHash: Buffer;

  /** By the database's clock, which also decides when the key is old enough to be forgotten. */
  @Index('idx_deduplication_keys_stored_at')
  @Column('timestamp with time zone', { name: 'stored_at', precision: 3, default: () => 'now()' })
  storedAt: Date;
}
