import { newApiKey } from './api-key.js';
import { type KeyKind, PLATFORM_SCOPES, type Scope } from './scopes.js';

/** Runs one statement inside the caller's transaction; rows have the columns that the statement names. */
export type Statements = <Row>(sql: string, values?: readonly unknown[]) => Promise<Row[]>;

export interface NewApiKey {
  label: string;
  /** null: a key of the platform, which sees every tenant. */
  tenantId: string | null;
  scopes: readonly Scope[];
  expiresAt: Date | null;
}

export interface StoredApiKey {
  keyId: string;
  kind: KeyKind;
  tenantId: string | null;
  scopes: Scope[];
  label: string;
  createdAt: Date;
  expiresAt: Date | null;
  /** To the minute. */
  lastUsedAt: Date | null;
  revokedAt: Date | null;
}

/** A key just made; `key` is nowhere else and is shown once. */
export interface IssuedApiKey extends StoredApiKey {
  key: string;
}

/** Who acts, for the audit log: `key:<id>`, `setup`, `local:<user>`. */
export interface Actor {
  name: string;
  requestId?: string;
}

const COLUMNS = `key_id AS "keyId", kind, tenant_id AS "tenantId", scopes, label, created_at AS "createdAt", expires_at AS "expiresAt",
  last_used_at AS "lastUsedAt", revoked_at AS "revokedAt"`;

/** What is true of a row of api_keys that works now. */
export const WORKING_KEY = `revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())`;

/** Those of `scopes` that a key of one tenant must not have. */
export function scopesBeyondTenant({ tenantId, scopes }: Pick<NewApiKey, 'tenantId' | 'scopes'>): Scope[] {
  return tenantId === null ? [] : scopes.filter((scope) => PLATFORM_SCOPES.includes(scope));
}

/** Makes a key and records it. The caller has checked the scopes. The first key of the platform ends the setup token: nobody needs it any more. */
export async function createApiKey(
  run: Statements,
  { label, tenantId, scopes, expiresAt }: NewApiKey,
  actor: Actor,
): Promise<IssuedApiKey> {
  const { text, keyId, secretHash } = newApiKey();
  const [stored] = await run<StoredApiKey>(
    `INSERT INTO api_keys (key_id, kind, tenant_id, scopes, secret_hash, label, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING ${COLUMNS}`,
    [keyId, tenantId === null ? 'platform' : 'tenant', tenantId, scopes, secretHash, label, expiresAt],
  );
  if (tenantId === null) await run(`UPDATE setup_tokens SET used_at = now() WHERE used_at IS NULL`);
  await recordAct(run, actor, { action: 'key.create', object: keyId, details: { label, tenantId, scopes, expiresAt } });
  return { ...stored!, key: text };
}

/** Newest first, those that were revoked or have expired too. */
export function listApiKeys(run: Statements, page: { after?: { createdAt: Date; keyId: string }; limit: number }): Promise<StoredApiKey[]> {
  return run<StoredApiKey>(
    `SELECT ${COLUMNS} FROM api_keys
     WHERE $1::timestamptz IS NULL OR (created_at, key_id) < ($1, $2::text)
     ORDER BY created_at DESC, key_id DESC LIMIT $3`,
    [page.after?.createdAt, page.after?.keyId, page.limit],
  );
}

/** Ends a key and the sessions that it opened. False when there is no such key; one that is revoked already stays as it is. */
export async function revokeApiKey(run: Statements, keyId: string, actor: Actor): Promise<boolean> {
  const [key] = await run<{ revokedAt: Date | null }>(`SELECT revoked_at AS "revokedAt" FROM api_keys WHERE key_id = $1`, [keyId]);
  if (!key) return false;
  if (key.revokedAt !== null) return true;
  await run(`UPDATE api_keys SET revoked_at = now() WHERE key_id = $1 AND revoked_at IS NULL`, [keyId]);
  await run(`DELETE FROM web_sessions WHERE key_id = $1`, [keyId]);
  await recordAct(run, actor, { action: 'key.revoke', object: keyId });
  return true;
}

/** Writes an administrative act into the audit log, in the transaction of the act itself. */
export async function recordAct(
  run: Statements,
  actor: Actor,
  { action, object = null, details = null }: { action: string; object?: string | null; details?: Record<string, unknown> | null },
): Promise<void> {
  await run(`INSERT INTO audit_log (actor, action, object, details, request_id) VALUES ($1, $2, $3, $4, $5)`, [
    actor.name,
    action,
    object,
    details,
    actor.requestId ?? null,
  ]);
}
