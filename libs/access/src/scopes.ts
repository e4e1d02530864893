/** What a key may be allowed to do. */
export const SCOPES = [
  'telemetry:read',
  'proofs:read',
  'rejections:write',
  'broker:read',
  'export',
  'devices:write',
  'keys:admin',
] as const;
export type Scope = (typeof SCOPES)[number];

/** What only a key of the whole platform may do: client ids and topics of a broker belong to all tenants. */
export const PLATFORM_SCOPES: readonly Scope[] = ['broker:read', 'keys:admin'];

export type KeyKind = 'tenant' | 'platform';
