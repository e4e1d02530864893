import { ApiExtraModels, ApiProperty } from '@nestjs/swagger';
import { IsString, ValidateIf } from 'class-validator';
import { OrNull } from '../http/documented.js';
import { ListQuery } from '../http/list-query.dto.js';
import { Identifier } from '../http/parameters.js';

export class DevicePath {
  /**
   * Name of the device, as its topic has it.
   * @example 'METER_0001'
   */
  @Identifier({ required: true })
  deviceId: string;
}

export class DeviceQuery {
  /**
   * Whose device, where several tenants have one of this name. A key of one tenant need not say it.
   * @example 'factory1'
   */
  @Identifier()
  tenantId?: string;
}

export class DeviceChange {
  /**
   * Ed25519 public key, base58 of its 32 bytes; null removes it.
   * @example '2o5j4p53KtAJTRmvC7xDcMTtigqXhduibVDb92hWXsQv'
   */
  @ApiProperty({ type: String, nullable: true })
  @ValidateIf(({ publicKey }: DeviceChange) => publicKey !== null)
  @IsString({ message: 'must be a base58 text, or null' })
  publicKey: string | null;
}

export class DevicesQuery extends ListQuery {
  /**
   * Of this tenant only.
   * @example 'factory1'
   */
  @Identifier()
  tenantId?: string;

  /**
   * Those whose last topic named this site.
   * @example 'line1'
   */
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

/** What a device has sent within a span that ends now. */
export class DeviceActivity {
  /**
   * A 64-bit integer.
   * @example '288'
   */
  messages: string;
  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: '2026-11-20T08:05:00.000Z' })
  firstReceivedAt: Date | null;
  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: '2026-11-21T08:05:00.000Z' })
  lastReceivedAt: Date | null;
  /**
   * Average over the span, or since the device appeared if that is later, but at least over a minute.
   * @example 0.2
   */
  messagesPerMinute: number;
}

/** `receivedAt` less `deviceTimestamp` in milliseconds, of messages that say their time; negative when the device's clock is ahead. */
export class DeviceLag {
  /**
   * Of the newest message.
   * @example 1012
   */
  @ApiProperty({ type: 'integer' })
  lastMs: number;
  /** @example 640 */
  @ApiProperty({ type: 'integer' })
  minMs: number;
  /** @example 1000 */
  @ApiProperty({ type: 'integer' })
  medianMs: number;
  /** @example 5200 */
  @ApiProperty({ type: 'integer' })
  maxMs: number;
}

/** Numbers that no message carries, between two that are there. */
export class SequenceGap {
  /** @example '4711' */
  after: string;
  /** @example '4714' */
  before: string;
  /** @example '2' */
  missing: string;
}

/** The device's own counter, 64-bit integers. A gap hints at a loss; a counter that began anew is one too. */
export class DeviceSequence {
  /** @example '4000' */
  first: string;
  /** @example '4999' */
  last: string;
  /**
   * Numbers between `first` and `last` that no message carries.
   * @example '2'
   */
  missing: string;
  /** @example 1 */
  @ApiProperty({ type: 'integer' })
  gapCount: number;
  /** The 100 with the highest numbers, highest first. */
  gaps: SequenceGap[];
}

/** Seen in the device's newest messages, at most 200. */
@ApiExtraModels(DeviceLag, DeviceSequence)
export class RecentMessages {
  /**
   * How many were looked at.
   * @example 1000
   */
  @ApiProperty({ type: 'integer' })
  messages: number;
  /** Null when no message says its own time. */
  @OrNull(DeviceLag)
  lag: OrNull<DeviceLag>;
  /** Null when no message carries `deviceSeq`. */
  @OrNull(DeviceSequence)
  sequence: OrNull<DeviceSequence>;
}

export class DeviceDetails extends DeviceSummary {
  last24Hours: DeviceActivity;
  last7Days: DeviceActivity;
  recent: RecentMessages;
}

export class DevicePage {
  items: DeviceSummary[];
  /** Goes into `cursor` for the next page; null on the last one. */
  @ApiProperty({ type: String, nullable: true, example: null })
  nextCursor: string | null;
}
