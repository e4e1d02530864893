import { timingSafeEqual } from 'node:crypto';
import { Injectable, Logger } from '@nestjs/common';
import { hashOfSecret, parseApiKey, parseSetupToken, SCOPES } from '@tallystick/access';
import type { Request } from 'express';
import { Database, NO_TENANT } from '../database/database.js';
import { Problem } from '../http/problem.js';
import type { Principal } from './principal.js';
import { findKey, findSessionKey, isSetupToken, type KeyRow, touchKey, touchSession } from './principals.queries.js';
import { sessionCookieOf } from './session-cookie.js';

/** A revoked key works at most so long, in each process. */
const REMEMBERED_MS = 2_000;
const MOST_REMEMBERED = 10_000;
const TOUCH_AFTER_MS = 60_000;
const SAFE_METHODS = ['GET', 'HEAD', 'OPTIONS'];

interface Remembered {
  key: KeyRow;
  untilMs: number;
}

/** Finds out who asks, by the API key in `Authorization: Bearer` or by a session cookie. */
@Injectable()
export class Authenticator {
  private readonly logger = new Logger(Authenticator.name);
  /** Keys and sessions that worked when they were last used, by key id and by the session's hash in hex. */
  private readonly remembered = new Map<string, Remembered>();

  constructor(private readonly database: Database) {}

  /** Throws UNAUTHENTICATED for a request without a key or session that works, FORBIDDEN for one that another site made a browser send. */
  async principalOf(request: Request, setupTokenWillDo = false): Promise<Principal> {
    const { authorization } = request.headers;
    if (authorization !== undefined) {
      const text = bearerOf(authorization);
      const setupToken = setupTokenWillDo ? parseSetupToken(text) : undefined;
      return setupToken ? this.bySetupToken(setupToken) : this.byKeyText(text);
    }
    const session = sessionCookieOf(request);
    assertSameOrigin(request);
    return this.bySession(session ?? '');
  }

  /** Whether the request's key or session worked when it was last used here. It is looked at again all the same. */
  isFamiliar(request: Request): boolean {
    const { authorization } = request.headers;
    if (authorization === undefined) return this.remembered.has(hashOfSecret(sessionCookieOf(request) ?? '').toString('hex'));
    const presented = parseApiKey(authorization.split(' ')[1] ?? '');
    const known = presented && this.remembered.get(presented.keyId);
    return known !== undefined && timingSafeEqual(known.key.secretHash, presented!.secretHash);
  }

  /** The principal of a key's text. Throws UNAUTHENTICATED. */
  async byKeyText(text: string): Promise<Principal> {
    const presented = parseApiKey(text);
    if (!presented) throw unauthenticated('This is not a key: a part of it is missing or changed.');
    const key = await this.workingKey(presented.keyId);
    if (!key || !timingSafeEqual(key.secretHash, presented.secretHash)) {
      throw unauthenticated('This key does not exist, has expired or was revoked.');
    }
    this.touch(key, () => this.database.write(NO_TENANT, (run) => touchKey(run, key.keyId)));
    return principal(key);
  }

  /** Throws UNAUTHENTICATED. The token is not used up by this. */
  async bySetupToken(hash: Buffer): Promise<Principal> {
    if (!(await this.database.readOnce(NO_TENANT, (read) => isSetupToken(read, hash)))) {
      throw unauthenticated('This setup token was used already, or is too old.');
    }
    return { name: 'setup', keyId: 'setup', kind: 'platform', tenantId: null, isPlatform: true, scopes: SCOPES, setupToken: hash };
  }

  private async bySession(session: string): Promise<Principal> {
    const hash = hashOfSecret(session);
    const key = await this.database.readOnce(NO_TENANT, (read) => findSessionKey(read, hash));
    this.remember(hash.toString('hex'), key);
    if (!key) throw unauthenticated('The session has ended. Sign in again.');
    this.touch(key, () => this.database.write(NO_TENANT, (run) => touchSession(run, hash).then(() => touchKey(run, key.keyId))));
    return principal(key);
  }

  private async workingKey(keyId: string): Promise<KeyRow | undefined> {
    const known = this.remembered.get(keyId);
    if (known && known.untilMs > performance.now()) return known.key;
    const key = await this.database.readOnce(NO_TENANT, (read) => findKey(read, keyId));
    this.remember(keyId, key);
    return key;
  }

  private remember(name: string, key: KeyRow | undefined): void {
    this.remembered.delete(name);
    if (!key) return;
    if (this.remembered.size >= MOST_REMEMBERED) this.remembered.delete(this.remembered.keys().next().value!);
    this.remembered.set(name, { key, untilMs: performance.now() + REMEMBERED_MS });
  }

  /** Notes the use of a key without letting the request wait for it. */
  private touch(key: KeyRow, write: () => Promise<void>): void {
    if (key.lastUsedAt !== null && Date.now() - key.lastUsedAt.getTime() < TOUCH_AFTER_MS) return;
    key.lastUsedAt = new Date();
    write().catch((error: unknown) => this.logger.warn('the use of a key could not be noted', { keyId: key.keyId, error }));
  }
}

/** Whether a request tries to say who it is from; one that does not is refused, but counts as no try. */
export function sendsCredentials(request: Request): boolean {
  return request.headers.authorization !== undefined || sessionCookieOf(request) !== undefined;
}

/** Browsers send cookies along whoever made them send the request; they do say who it was. Throws FORBIDDEN. */
export function assertSameOrigin(request: Request): void {
  if (SAFE_METHODS.includes(request.method)) return;
  const origin = request.get('origin');
  if (origin === `${request.protocol}://${request.get('host')}`) return;
  throw new Problem('FORBIDDEN', 'A change with a session must come from the page of this API (Origin).');
}

function principal({ keyId, kind, tenantId, scopes }: KeyRow): Principal {
  return { name: `key:${keyId}`, keyId, kind, tenantId, isPlatform: kind === 'platform', scopes };
}

function bearerOf(authorization: string): string {
  const [scheme, text, ...rest] = authorization.split(' ');
  if (scheme?.toLowerCase() === 'bearer' && text !== undefined && rest.length === 0) return text;
  throw unauthenticated('The Authorization header must be `Bearer` and a key.');
}

export function unauthenticated(detail: string): Problem {
  return new Problem('UNAUTHENTICATED', detail, { headers: { 'WWW-Authenticate': 'Bearer realm="tallystick"' } });
}
