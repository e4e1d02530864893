import { ApiProperty } from '@nestjs/swagger';
import { type KeyKind, type Scope, SCOPES } from '@tallystick/access';
import { Text } from '../http/parameters.js';

export class SignIn {
  /**
   * A key, or a setup token that was not used yet.
   * @example 'tly_Q3vT8mZk1LxB_5dJ0s3mWmYc4n4cJ1tJbHcZ2aX9fPq8rK6uE7vB0gLw1a2B3c'
   */
  @Text({ max: 100, required: true })
  key: string;
}

/** Who is signed in. */
export class Session {
  /** @example 'Q3vT8mZk1LxB' */
  keyId: string;
  @ApiProperty({ enum: ['tenant', 'platform'], example: 'platform' })
  kind: KeyKind;
  /** @example null */
  @ApiProperty({ type: String, nullable: true })
  tenantId: string | null;
  @ApiProperty({ enum: SCOPES, isArray: true, example: ['telemetry:read', 'broker:read'] })
  scopes: Scope[];
}
