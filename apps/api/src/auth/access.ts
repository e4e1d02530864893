import { applyDecorators, createParamDecorator, type ExecutionContext, SetMetadata } from '@nestjs/common';
import { ApiBearerAuth, ApiCookieAuth, ApiForbiddenResponse, ApiTooManyRequestsResponse, ApiUnauthorizedResponse } from '@nestjs/swagger';
import { PLATFORM_SCOPES, type Scope } from '@tallystick/access';
import type { Request } from 'express';
import { problemContent } from '../http/documented.js';
import { SESSION_COOKIE } from './session-cookie.js';
import type { Principal } from './principal.js';

export const POLICY = Symbol('POLICY');

/** Who may use a route: anybody, or whoever holds a key with this scope. A route without a policy is closed to all. */
export type Policy = 'public' | { scope: Scope; platformOnly: boolean; setupToken: boolean };

/** Anybody may use it. */
export const Public = () => SetMetadata(POLICY, 'public' satisfies Policy);

/**
 * Declares the policy of a route, or of all routes of a controller, and documents it. `setupToken`: such a one will do in place of a key.
 * `platformOnly`: what is read here is not of one tenant, though the scope can be.
 */
export function Access(
  scope: Scope,
  { setupToken = false, platformOnly = PLATFORM_SCOPES.includes(scope) } = {},
): MethodDecorator & ClassDecorator {
  return applyDecorators(
    SetMetadata(POLICY, { scope, platformOnly, setupToken } satisfies Policy),
    ApiBearerAuth(),
    ApiCookieAuth(SESSION_COOKIE),
    ApiUnauthorizedResponse({ description: '`UNAUTHENTICATED`: no key, or one that does not work (any more)', content: problemContent }),
    ApiForbiddenResponse({
      description: `\`FORBIDDEN\`: the key lacks the scope \`${scope}\`${platformOnly ? ', or is one of a tenant' : ''}`,
      content: problemContent,
    }),
    ApiTooManyRequestsResponse({ description: '`TOO_MANY_REQUESTS`; ask again after `Retry-After` seconds', content: problemContent }),
  );
}

/** The principal that the guard has let in. */
export const Caller = createParamDecorator((_: unknown, context: ExecutionContext): Principal => {
  const { principal } = context.switchToHttp().getRequest<Request & { principal?: Principal }>();
  if (!principal) throw new Error('a public route has no caller');
  return principal;
});
