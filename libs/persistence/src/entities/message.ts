import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn } from 'typeorm';
import { Batch } from './batch.js';
import { Device } from './device.js';

/** One telemetry message. Partitioned by day through message_id (UUIDv7 begins with the millisecond of received_at); never updated. */
@Entity('messages')
@Index('idx_messages_device_id', { synchronize: false })
@Index('idx_messages_received_at', { synchronize: false })
@Index('idx_messages_hash', ['messageHash'])
@Index('idx_messages_tenant', ['tenantId', 'messageId', 'siteId'])
export class Message {
  @PrimaryColumn('uuid', { name: 'message_id', primaryKeyConstraintName: 'messages_pkey' })
  messageId: string;

  @Column('uuid', { name: 'batch_id' })
  batchId: string;

  @ManyToOne(() => Batch, { onDelete: 'CASCADE', nullable: false })
  @JoinColumn({ name: 'batch_id', foreignKeyConstraintName: 'fk_batch' })
  batch: Batch;

  /** Position in the batch's tree, from 0. */
  @Column('int', { name: 'leaf_index' })
  leafIndex: number;

  @Column('varchar', { name: 'tenant_id', length: 100 })
  tenantId: string;

  @Column('varchar', { name: 'site_id', length: 100 })
  siteId: string;

  @Column('varchar', { name: 'device_id', length: 100 })
  deviceId: string;

  @ManyToOne(() => Device, { nullable: false })
  @JoinColumn([
    { name: 'tenant_id', referencedColumnName: 'tenantId', foreignKeyConstraintName: 'fk_device' },
    { name: 'device_id', referencedColumnName: 'deviceId', foreignKeyConstraintName: 'fk_device' },
  ])
  device: Device;

  @Column('varchar', { length: 255 })
  topic: string;

  /** SHA-256 of the payload bytes, lower-case hex. */
  @Column('varchar', { name: 'message_hash', length: 64 })
  messageHash: string;

  /** The payload as JSON, for queries; NULL with raw_data_error when jsonb cannot hold it. The evidence is `payload`. */
  @Column('jsonb', { name: 'raw_data', nullable: true })
  rawData: unknown;

  @Column('text', { name: 'raw_data_error', nullable: true })
  rawDataError: string | null;

  /** The bytes as received. */
  @Column('bytea')
  payload: Buffer;

  @Column('int', { name: 'payload_size' })
  payloadSize: number;

  /** 16 random bytes of the leaf, so that a sibling's payload cannot be guessed out of a proof. */
  @Column('bytea')
  nonce: Buffer;

  @Column('timestamp with time zone', { name: 'received_at', precision: 3 })
  receivedAt: Date;

  @Column('timestamp with time zone', { name: 'processed_at', precision: 3, default: () => 'now()' })
  processedAt: Date;

  /** What the payload says of its own time. */
  @Column('timestamp with time zone', { name: 'device_timestamp', precision: 3, nullable: true })
  deviceTimestamp: Date | null;

  @Column('bigint', { name: 'device_seq', nullable: true })
  deviceSeq: string | null;

  /** Ed25519 signature of the device, base58. */
  @Column('varchar', { name: 'device_signature', length: 88, nullable: true })
  deviceSignature: string | null;

  @Column('smallint')
  qos: number;

  @Column('boolean')
  retained: boolean;

  /** MQTT packet identifier of the delivery that was stored; NULL for QoS 0. */
  @Column('int', { name: 'packet_id', nullable: true })
  packetId: number | null;
}
