import { ApiProperty } from '@nestjs/swagger';
import { ListQuery } from '../http/list-query.dto.js';
import { Identifier } from '../http/parameters.js';

export class DevicesQuery extends ListQuery {
  @Identifier()
  tenantId?: string;

  @Identifier()
  siteId?: string;
}

export class DeviceSummary {
  /** @example 'factory1' */
  tenantId: string;
  /** @example 'SENSOR_001' */
  deviceId: string;
  /**
   * Site of the device's last topic.
   * @example 'line2'
   */
  siteId: string;
  /** Receipt of its last message. */
  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: '2026-11-21T08:05:00.000Z' })
  lastSeen: Date | null;
  /**
   * Messages stored of it so far, a 64-bit integer.
   * @example '1524'
   */
  messageCount: string;
  /** Ed25519 public key, base58. */
  @ApiProperty({ type: String, nullable: true, example: null })
  publicKey: string | null;
  @ApiProperty({ type: String, nullable: true, example: '2.1.0' })
  firmwareVersion: string | null;
  /**
   * When its first message was stored.
   * @example '2026-11-01T06:00:00.000Z'
   */
  createdAt: Date;
  /** @example '2026-11-21T08:05:00.000Z' */
  updatedAt: Date;
}

export class DevicePage {
  items: DeviceSummary[];
  /** Goes into `cursor` for the next page; null on the last one. */
  @ApiProperty({ type: String, nullable: true, example: null })
  nextCursor: string | null;
}
