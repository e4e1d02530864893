import { Body, Controller, Delete, HttpCode, Post, Req, Res } from '@nestjs/common';
import {
  ApiForbiddenResponse,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiTags,
  ApiTooManyRequestsResponse,
  ApiUnauthorizedResponse,
} from '@nestjs/swagger';
import { createApiKey, hashOfSecret, newSecret, parseSetupToken, SCOPES } from '@tallystick/access';
import type { Request, Response } from 'express';
import { Database, NO_TENANT } from '../database/database.js';
import { Failures, problemContent } from '../http/documented.js';
import { requestIdOf } from '../http/request-id.js';
import { Public } from './access.js';
import { assertSameOrigin, Authenticator } from './authenticator.js';
import { addSession, removeSession } from './principals.queries.js';
import { RateLimits } from './rate-limits.js';
import { clearSessionCookie, sessionCookieOf, setSessionCookie } from './session-cookie.js';
import { Session, SignIn } from './session.dto.js';
import { spendSetupToken } from './spend-setup-token.js';

const OTHER_SITE = '`FORBIDDEN`: a page of another site made the browser send it (`Origin`)';

/** Signing in with a browser. Programs send their key with each request instead. */
@ApiTags('session')
@Controller('api/v1/session')
@Public()
export class SessionController {
  constructor(
    private readonly database: Database,
    private readonly authenticator: Authenticator,
    private readonly limits: RateLimits,
  ) {}

  /**
   * Turns a key into a session cookie.
   * @remarks The session ends after 30 minutes without a request, after 12 hours, with its key, or by `DELETE`. A setup token makes a
   * platform key of its own for the session.
   */
  @Post()
  @HttpCode(200)
  @ApiOkResponse({ description: 'Signed in; the cookie is HttpOnly.', type: Session })
  @ApiForbiddenResponse({ description: OTHER_SITE, content: problemContent })
  @ApiUnauthorizedResponse({ description: '`UNAUTHENTICATED`: the key does not work', content: problemContent })
  @ApiTooManyRequestsResponse({ description: '`TOO_MANY_REQUESTS`; ask again after `Retry-After` seconds', content: problemContent })
  @Failures({ body: true })
  async signIn(@Body() { key }: SignIn, @Req() request: Request, @Res({ passthrough: true }) response: Response): Promise<Session> {
    // A page of another site must not sign the browser in either: it would be under a key of that site's choice.
    if (request.headers.origin !== undefined) assertSameOrigin(request);
    const session = newSecret();
    const opened = await this.limits.countingFailures(request, false, () => this.open(key, session, requestIdOf(response)));
    setSessionCookie(request, response, session);
    return opened;
  }

  /**
   * Ends the session of the cookie; without one nothing happens.
   * @remarks A request of a browser must come from the page of this API (`Origin`). Programs, which have no session, need not call it.
   */
  @Delete()
  @HttpCode(204)
  @ApiNoContentResponse({ description: 'Signed out.' })
  @ApiForbiddenResponse({ description: OTHER_SITE, content: problemContent })
  @Failures({ body: true })
  async signOut(@Req() request: Request, @Res({ passthrough: true }) response: Response): Promise<void> {
    const session = sessionCookieOf(request);
    if (session === undefined) return;
    assertSameOrigin(request);
    await this.database.write(NO_TENANT, (run) => removeSession(run, hashOfSecret(session)));
    clearSessionCookie(request, response);
  }

  private async open(text: string, session: string, requestId: string): Promise<Session> {
    const setupToken = parseSetupToken(text);
    if (!setupToken) {
      const { keyId, kind, tenantId, scopes } = await this.authenticator.byKeyText(text);
      await this.limits.countRequest(keyId);
      await this.database.write(NO_TENANT, (run) => addSession(run, hashOfSecret(session), keyId));
      return { keyId, kind, tenantId, scopes: [...scopes] };
    }
    return this.database.write(NO_TENANT, async (run) => {
      await spendSetupToken(run, setupToken);
      const key = { label: 'first sign-in', tenantId: null, scopes: SCOPES, expiresAt: null };
      const { keyId, kind, tenantId, scopes } = await createApiKey(run, key, { name: 'setup', requestId });
      await addSession(run, hashOfSecret(session), keyId);
      return { keyId, kind, tenantId, scopes };
    });
  }
}
