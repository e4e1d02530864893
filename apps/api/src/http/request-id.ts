import { randomUUID } from 'node:crypto';
import type { NextFunction, Request, Response } from 'express';
import { withLogFields } from '@tallystick/observability';

const HEADER = 'X-Request-Id';
const ACCEPTED = /^[A-Za-z0-9_-]{1,64}$/;

/** Gives every request an id, the client's own if it is harmless, and puts it into the answer and every log line. */
export function requestId(request: Request, response: Response, next: NextFunction): void {
  const given = request.get(HEADER);
  const id = given !== undefined && ACCEPTED.test(given) ? given : randomUUID();
  response.set(HEADER, id);
  withLogFields({ requestId: id }, next);
}

export function requestIdOf(response: Response): string {
  return response.get(HEADER) ?? 'unknown';
}
