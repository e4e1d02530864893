import { ApiProperty } from '@nestjs/swagger';
import { REJECTION_REASONS, REJECTION_STATUSES, type RejectionReason, type RejectionStatus } from '@tallystick/persistence';
import { ListQuery } from '../http/list-query.dto.js';
import { Identifier, Instant, OneOf, Uuid } from '../http/parameters.js';

export class RejectionPath {
  /**
   * Id of the rejection, from the list of rejections.
   * @example '019ab5e8-2c00-7000-8000-0000000000b1'
   */
  @Uuid({ required: true })
  rejectionId: string;
}

export class RejectionsQuery extends ListQuery {
  /** `new`: nobody has decided about it yet, or a replay was refused. */
  @OneOf(REJECTION_STATUSES)
  status?: RejectionStatus;

  /** Rejected for this reason only. */
  @OneOf(REJECTION_REASONS)
  reason?: RejectionReason;

  /**
   * Of this tenant only.
   * @example 'factory1'
   */
  @Identifier()
  tenantId?: string;

  /** Received at or after this time (RFC 3339 with offset). */
  @Instant()
  from?: Date;

  /** Received before this time; at most 366 days after `from`. */
  @Instant({ example: '2026-11-22T08:00:00Z' })
  to?: Date;
}

/** A message that was taken, but not stored as telemetry. */
export class RejectionSummary {
  /** @example '019ab5e8-2c00-7000-8000-0000000000b1' */
  @ApiProperty({ format: 'uuid' })
  rejectionId: string;
  /** @example '2026-11-21T08:00:00.000Z' */
  receivedAt: Date;
  /** Null when the topic names none; then only a key of the platform sees it. A replay may find one. */
  @ApiProperty({ type: String, nullable: true, example: 'factory1' })
  tenantId: string | null;
  /** @example 'veep/factory1/line2/SENSOR_001/data' */
  topic: string;
  @ApiProperty({ enum: REJECTION_REASONS, example: 'not_json' })
  reason: RejectionReason;
  /** The reason in words. */
  @ApiProperty({ type: String, nullable: true, example: 'the payload is not JSON (RFC 8259)' })
  detail: string | null;
  /**
   * Bytes of the whole payload.
   * @example 84
   */
  @ApiProperty({ type: 'integer' })
  payloadSize: number;
  /**
   * SHA-256 of the whole payload, hex.
   * @example 'b4c5d6e7f8a9b0c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5'
   */
  payloadHash: string;
  /** Whether only the first bytes of the payload were kept. */
  truncated: boolean;
  /**
   * MQTT client id of the bridge that received it.
   * @example 'tallystick-ingest'
   */
  receiver: string;
  /** @example 1 */
  @ApiProperty({ type: 'integer' })
  qos: number;
  /** MQTT packet identifier; null for QoS 0. */
  @ApiProperty({ type: 'integer', nullable: true, example: 12 })
  packetId: number | null;
  @ApiProperty({ enum: REJECTION_STATUSES, example: 'new' })
  status: RejectionStatus;
  /** When it was discarded or stored by a replay; null before. */
  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: null })
  resolvedAt: Date | null;
  /** The message as which a replay stored it; null before. */
  @ApiProperty({ type: String, format: 'uuid', nullable: true, example: null })
  replayedAs: string | null;
}

export class RejectionPage {
  items: RejectionSummary[];
  /** Goes into `cursor` for the next page; null on the last one. */
  @ApiProperty({ type: String, nullable: true, example: null })
  nextCursor: string | null;
}
