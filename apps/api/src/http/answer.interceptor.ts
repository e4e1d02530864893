import { hash } from 'node:crypto';
import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { Request, Response } from 'express';
import { map, type Observable } from 'rxjs';
import { stringify } from './json-text.js';

/** Writes what a handler returns as JSON, and a list's next page as a Link header (RFC 8288). */
@Injectable()
export class AnswerInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const http = context.switchToHttp();
    return next.handle().pipe(map((value: unknown) => answer(value, http.getRequest(), http.getResponse())));
  }
}

function answer(value: unknown, request: Request, response: Response): unknown {
  // Handlers that write the response themselves return nothing; StreamableFile and the like are not plain objects.
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value) || 'getStream' in value) return value;
  if ('nextCursor' in value && typeof value.nextCursor === 'string') response.links({ next: nextUrl(request, value.nextCursor) });
  response.type('application/json');
  const text = stringify(value);
  // Nobody comes back with the ETag of what may not be kept. Express compares it with If-None-Match.
  if (response.get('Cache-Control') !== 'no-store') response.set('ETag', `"${hash('sha256', text, 'base64url')}"`);
  return text;
}

/** Relative: behind a proxy we do not know the address that the client used. */
function nextUrl(request: Request, cursor: string): string {
  const url = new URL(request.originalUrl, 'http://localhost');
  url.searchParams.set('cursor', cursor);
  return url.pathname + url.search;
}
