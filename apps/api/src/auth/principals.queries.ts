import { type KeyKind, type Scope, WORKING_KEY } from '@tallystick/access';
import type { Reader } from '../database/database.js';

export interface KeyRow {
  keyId: string;
  kind: KeyKind;
  tenantId: string | null;
  scopes: Scope[];
  secretHash: Buffer;
  /** Of the key, or of the session that it opened. */
  lastUsedAt: Date | null;
}

const COLUMNS = `k.key_id AS "keyId", k.kind, k.tenant_id AS "tenantId", k.scopes, k.secret_hash AS "secretHash"`;

/** A key that works now. */
export async function findKey(read: Reader, keyId: string): Promise<KeyRow | undefined> {
  const rows = await read<KeyRow>(
    `SELECT ${COLUMNS}, k.last_used_at AS "lastUsedAt" FROM api_keys k WHERE key_id = $1 AND ${WORKING_KEY}`,
    [keyId],
  );
  return rows[0];
}

/** The key of a session that works now, 30 minutes idle, 12 hours in all; `lastUsedAt` is the session's, which others with this key do not keep alive. */
export async function findSessionKey(read: Reader, sessionHash: Buffer): Promise<KeyRow | undefined> {
  const rows = await read<KeyRow>(
    `SELECT ${COLUMNS}, s.last_seen_at AS "lastUsedAt" FROM web_sessions s JOIN api_keys k USING (key_id)
     WHERE s.session_hash = $1 AND s.last_seen_at > now() - interval '30 minutes' AND s.created_at > now() - interval '12 hours'
       AND ${WORKING_KEY}`,
    [sessionHash],
  );
  return rows[0];
}

/** At most one write a minute for a key, however often it is used. */
export async function touchKey(run: Reader, keyId: string): Promise<void> {
  await run(
    `UPDATE api_keys SET last_used_at = now() WHERE key_id = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')`,
    [keyId],
  );
}

export async function touchSession(run: Reader, sessionHash: Buffer): Promise<void> {
  await run(`UPDATE web_sessions SET last_seen_at = now() WHERE session_hash = $1 AND last_seen_at < now() - interval '1 minute'`, [
    sessionHash,
  ]);
}

/** Opens a session, and removes those that have ended. */
export async function addSession(run: Reader, sessionHash: Buffer, keyId: string): Promise<void> {
  await run(`DELETE FROM web_sessions WHERE last_seen_at < now() - interval '30 minutes' OR created_at < now() - interval '12 hours'`);
  await run(`INSERT INTO web_sessions (session_hash, key_id) VALUES ($1, $2)`, [sessionHash, keyId]);
}

export async function removeSession(run: Reader, sessionHash: Buffer): Promise<void> {
  await run(`DELETE FROM web_sessions WHERE session_hash = $1`, [sessionHash]);
}

/** Whether a setup token would work now. */
export async function isSetupToken(read: Reader, hash: Buffer): Promise<boolean> {
  const found = await read(`SELECT FROM setup_tokens WHERE token_hash = $1 AND used_at IS NULL AND expires_at > now()`, [hash]);
  return found.length > 0;
}
