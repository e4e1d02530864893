import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { isPublicRoute } from '@tallystick/observability';
import type { Request } from 'express';
import { Problem } from '../http/problem.js';
import { type Policy, POLICY } from './access.js';
import { Authenticator, sendsCredentials, unauthenticated } from './authenticator.js';
import type { Principal } from './principal.js';
import { RateLimits } from './rate-limits.js';

/** Lets in whoever a route's policy allows; a route that declares none is closed. */
@Injectable()
export class AccessGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    private readonly authenticator: Authenticator,
    private readonly limits: RateLimits,
  ) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const policy = this.reflector.getAllAndOverride<Policy | undefined>(POLICY, [context.getHandler(), context.getClass()]);
    if (policy === 'public' || isPublicRoute(context.getClass())) return true;
    if (policy === undefined) throw new Problem('FORBIDDEN', 'This route says of nobody that they may use it.');
    const request = context.switchToHttp().getRequest<Request & { principal?: Principal }>();
    if (!sendsCredentials(request)) throw unauthenticated('Send a key as `Authorization: Bearer tly_…`.');
    const principal = await this.limits.countingFailures(request, this.authenticator.isFamiliar(request), () =>
      this.authenticator.principalOf(request, policy.setupToken),
    );
    await this.limits.countRequest(principal.keyId);
    if (!principal.scopes.includes(policy.scope)) throw new Problem('FORBIDDEN', `The key lacks the scope ${policy.scope}.`);
    if (policy.platformOnly && !principal.isPlatform) throw new Problem('FORBIDDEN', 'Only a key of the platform may do this.');
    request.principal = principal;
    return true;
  }
}
