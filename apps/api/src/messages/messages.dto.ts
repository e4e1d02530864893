import { ApiProperty } from '@nestjs/swagger';
import { BATCH_STATUSES, type BatchStatus } from '@tallystick/persistence';
import { IsOptional, IsString } from 'class-validator';
import { ListQuery } from '../http/list-query.dto.js';
import { Identifier, Instant, Sha256Hex, Uuid } from '../http/parameters.js';

export class MessagePath {
  /**
   * Id of the message, from the list of messages.
   * @example '019ab5e8-2c00-7000-8000-0000000000a1'
   */
  @Uuid({ required: true })
  messageId: string;
}

/** Without `deviceId`, `batchId`, `hash`, `from` and `to` the list covers the last 24 hours. */
export class MessagesQuery extends ListQuery {
  /** SHA-256 of the payload bytes in hex, as `sha256sum` prints it. */
  @Sha256Hex()
  hash?: string;

  /**
   * Messages of the device of this name, of every tenant that has one.
   * @example 'METER_0001'
   */
  @Identifier()
  deviceId?: string;

  /**
   * Of this tenant only.
   * @example 'factory1'
   */
  @Identifier()
  tenantId?: string;

  /**
   * Messages whose topic named this site.
   * @example 'line1'
   */
  @Identifier()
  siteId?: string;

  /** Messages of this batch. */
  @Uuid()
  batchId?: string;

  /**
   * JSON that the payload must contain, as PostgreSQL's `@>` has it: `{"metadata":{"firmware_version":"2.1.0"}}`. An object or array of
   * at most 2,048 bytes with a value in it. Without `deviceId`, `batchId` or `hash` a tenant's key may ask for 24 hours at most.
   */
  @ApiProperty({ required: false, type: String, maxLength: 2048, example: '{"deviceId":"METER_0001"}' })
  @IsOptional()
  @IsString({ message: 'must be given once' })
  data?: string;

  /** Received at or after this time (RFC 3339 with offset). */
  @Instant()
  from?: Date;

  /** Received before this time; at most 366 days after `from`. */
  @Instant({ example: '2026-11-22T08:00:00Z' })
  to?: Date;
}

export class MessageSummary {
  /** @example '019ab5e8-2c00-7000-8000-0000000000a1' */
  @ApiProperty({ format: 'uuid' })
  messageId: string;
  /** @example '019ab5e8-2c00-7000-8000-000000000001' */
  @ApiProperty({ format: 'uuid' })
  batchId: string;
  /**
   * Place in the batch's tree, from 0.
   * @example 0
   */
  @ApiProperty({ type: 'integer' })
  leafIndex: number;
  /** @example 'factory1' */
  tenantId: string;
  /** @example 'line2' */
  siteId: string;
  /** @example 'SENSOR_001' */
  deviceId: string;
  /** @example 'veep/factory1/line2/SENSOR_001/data' */
  topic: string;
  /**
   * SHA-256 of the payload bytes, hex: what `sha256sum` prints.
   * @example 'b4c5d6e7f8a9b0c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5'
   */
  messageHash: string;
  /**
   * Bytes.
   * @example 84
   */
  @ApiProperty({ type: 'integer' })
  payloadSize: number;
  /** The payload as JSON, in its own spelling; null when it is none, or none that can be searched. Its bytes: `/messages/{messageId}/payload`. */
  @ApiProperty({
    oneOf: [{ type: 'object', nullable: true }, { type: 'array', items: {} }, { type: 'string' }, { type: 'number' }, { type: 'boolean' }],
    example: { deviceId: 'SENSOR_001', timestamp: 1678886400, kwh: 15.7 },
  })
  rawData: unknown;
  /** Why `rawData` is null although the payload is there. */
  @ApiProperty({ type: String, nullable: true, example: null })
  rawDataError: string | null;
  /** @example '2026-11-21T08:00:00.000Z' */
  receivedAt: Date;
  /** @example '2026-11-21T08:00:00.012Z' */
  processedAt: Date;
  /** What the payload says of its own time. */
  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: '2026-11-21T07:59:59.000Z' })
  deviceTimestamp: Date | null;
  /** The device's own counter, a 64-bit integer. */
  @ApiProperty({ type: String, nullable: true, example: '4711' })
  deviceSeq: string | null;
  /** Ed25519 signature of the device, base58. */
  @ApiProperty({ type: String, nullable: true, example: null })
  deviceSignature: string | null;
  /** @example 1 */
  @ApiProperty({ type: 'integer' })
  qos: number;
  /** Whether the broker had kept it as a retained message. */
  retained: boolean;
}

export class MessageBatch {
  @ApiProperty({ enum: BATCH_STATUSES, example: 'complete' })
  status: BatchStatus;
  /**
   * Merkle root of the batch, hex; null until it is sealed.
   * @example 'a3f5e9b2c1d8f7e6a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1'
   */
  @ApiProperty({ type: String, nullable: true })
  batchHash: string | null;
  /** Place in the transparency log, a 64-bit integer; null until it is there. */
  @ApiProperty({ type: String, nullable: true, example: '17' })
  logIndex: string | null;
}

export class MessageDetails extends MessageSummary {
  /**
   * 16 random bytes of the leaf, hex.
   * @example '000102030405060708090a0b0c0d0e0f'
   */
  nonce: string;
  /** MQTT packet identifier of the delivery that was stored; null for QoS 0. */
  @ApiProperty({ type: 'integer', nullable: true, example: 12 })
  packetId: number | null;
  batch: MessageBatch;
}

export class MessagePage {
  items: MessageSummary[];
  /** Goes into `cursor` for the next page; null on the last one. */
  @ApiProperty({ type: String, nullable: true, example: null })
  nextCursor: string | null;
}
