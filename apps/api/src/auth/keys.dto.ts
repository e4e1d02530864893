import { ApiProperty } from '@nestjs/swagger';
import { type KeyKind, type Scope, SCOPES } from '@tallystick/access';
import { ArrayMinSize, ArrayUnique, IsArray, IsIn, Matches } from 'class-validator';
import { Instant, Text } from '../http/parameters.js';

export class KeyPath {
  /**
   * The 12 characters after `tly_`.
   * @example 'Q3vT8mZk1LxB'
   */
  @Matches(/^[0-9A-Za-z]{12}$/, { message: 'must be the 12 letters and digits after tly_' })
  keyId: string;
}

export class NewKey {
  /**
   * For people: whose it is, what for.
   * @example 'Grafana of plant 1'
   */
  @Text({ max: 100, required: true })
  label: string;

  /**
   * The one tenant that the key sees. Without it the key is one of the platform, and sees all.
   * @example 'factory1'
   */
  @Text({ max: 100 })
  tenantId?: string;

  /** What the key may do. `broker:read` and `keys:admin` are for keys of the platform only. */
  @ApiProperty({ enum: SCOPES, isArray: true, minItems: 1, uniqueItems: true, example: ['telemetry:read'] })
  @IsArray({ message: 'must be a list of scopes' })
  @ArrayMinSize(1, { message: 'must name a scope' })
  @ArrayUnique({ message: 'names a scope twice' })
  @IsIn(SCOPES, { each: true, message: `must be of ${SCOPES.join(', ')}` })
  scopes: Scope[];

  /** When the key stops working (RFC 3339 with offset); never, if not given. */
  @Instant({ example: '2099-12-31T00:00:00Z' })
  expiresAt?: Date;
}

/** A key without its secret. */
export class KeySummary {
  /** @example 'Q3vT8mZk1LxB' */
  keyId: string;
  @ApiProperty({ enum: ['tenant', 'platform'], example: 'tenant' })
  kind: KeyKind;
  /** @example 'factory1' */
  @ApiProperty({ type: String, nullable: true })
  tenantId: string | null;
  @ApiProperty({ enum: SCOPES, isArray: true, example: ['telemetry:read'] })
  scopes: Scope[];
  /** @example 'Grafana of plant 1' */
  label: string;
  /** @example '2026-11-21T08:00:00.000Z' */
  createdAt: Date;
  /** @example '2027-11-21T08:00:00.000Z' */
  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  expiresAt: Date | null;
  /**
   * To the minute.
   * @example '2026-11-21T09:12:00.000Z'
   */
  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  lastUsedAt: Date | null;
  /** @example null */
  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  revokedAt: Date | null;
}

/** A key just made. */
export class IssuedKey extends KeySummary {
  /**
   * The key itself. It is shown now and never again: only its hash is stored.
   * @example 'tly_Q3vT8mZk1LxB_5dJ0s3mWmYc4n4cJ1tJbHcZ2aX9fPq8rK6uE7vB0gLw1a2B3c'
   */
  key: string;
}

export class KeyPage {
  items: KeySummary[];
  /** Cursor of the next page; null on the last one. */
  @ApiProperty({ type: String, nullable: true })
  nextCursor: string | null;
}
