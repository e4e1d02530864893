import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** A device as its topics name it. Written by ingest-bridge only, but for `public_key`. */
@Entity('devices')
@Index('idx_devices_tenant_site', ['tenantId', 'siteId'], { where: 'site_id IS NOT NULL' })
@Index('idx_devices_last_seen', { synchronize: false })
export class Device {
  @PrimaryColumn('varchar', { name: 'tenant_id', length: 100, primaryKeyConstraintName: 'devices_pkey' })
  tenantId: string;

  @PrimaryColumn('varchar', { name: 'device_id', length: 100, primaryKeyConstraintName: 'devices_pkey' })
  deviceId: string;

  /** Site of the device's last topic: the topic wins when a device moves. */
  @Column('varchar', { name: 'site_id', length: 100 })
  siteId: string;

  @Column('timestamp with time zone', { name: 'last_seen', precision: 3, nullable: true })
  lastSeen: Date | null;

  @Column('bigint', { name: 'message_count', default: 0 })
  messageCount: string;

  /** Ed25519 public key, base58. */
  @Column('varchar', { name: 'public_key', length: 88, nullable: true })
  publicKey: string | null;

  @Column('varchar', { name: 'firmware_version', length: 50, nullable: true })
  firmwareVersion: string | null;

  @Column('timestamp with time zone', { name: 'created_at', precision: 3, default: () => 'now()' })
  createdAt: Date;

  @Column('timestamp with time zone', { name: 'updated_at', precision: 3, default: () => 'now()' })
  updatedAt: Date;
}
