import type { KeyKind, Scope } from '@tallystick/access';

/** Who asks. */
export interface Principal {
  /** As in the audit log: `key:<id>`. */
  name: string;
  keyId: string;
  kind: KeyKind;
  /** The one tenant that is seen; null for the platform. */
  tenantId: string | null;
  isPlatform: boolean;
  scopes: readonly Scope[];
  /** Hash of the setup token that was sent in place of a key; the act that it is for uses it up. */
  setupToken?: Buffer;
}
