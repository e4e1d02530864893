import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { ROUTE_ARGS_METADATA } from '@nestjs/common/constants.js';
import { RouteParamtypes } from '@nestjs/common/enums/route-paramtypes.enum.js';
import type { Request } from 'express';
import { Problem } from './problem.js';

/**
 * Refuses a query or a body where a handler declares none; the input pipe sees only what is declared. A body must be JSON
 * wherever it is taken: a form that another site posts is not.
 */
@Injectable()
export class UndeclaredInputGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<Request>();
    const declared = declaredInputs(context);
    if (!declared.has(RouteParamtypes.QUERY) && Object.keys(request.query).length > 0) {
      throw new Problem('INVALID_PARAMETER', 'No query parameters are known here.');
    }
    if (!hasBody(request)) return true;
    if (!request.is('json')) throw new Problem('UNSUPPORTED_MEDIA_TYPE', 'Send application/json in UTF-8.');
    if (!declared.has(RouteParamtypes.BODY) && !isEmptyObject(request.body)) {
      throw new Problem('INVALID_PARAMETER', 'No body fields are known here.');
    }
    return true;
  }
}

/** Which kinds of input the handler's parameters are decorated with; Nest keys them as `<kind>:<position>`. */
function declaredInputs(context: ExecutionContext): Set<number> {
  const args = Reflect.getMetadata(ROUTE_ARGS_METADATA, context.getClass(), context.getHandler().name) as object | undefined;
  return new Set(Object.keys(args ?? {}).map((key) => Number(key.split(':')[0])));
}

function hasBody(request: Request): boolean {
  return request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0;
}

function isEmptyObject(body: unknown): boolean {
  return body === undefined || (typeof body === 'object' && body !== null && !Array.isArray(body) && Object.keys(body).length === 0);
}
