import type { NextFunction, Request, Response } from 'express';
import { BROKEN_ENCODING, Problem } from './problem.js';

/**
 * Refuses a query whose percent-encoding is broken, as Express does for paths: its parser would take `%ZZ` as it stands and any other
 * bytes than UTF-8 for U+FFFD, and something else would be looked for than was meant.
 */
export function readableQuery(request: Request, _response: Response, next: NextFunction): void {
  const start = request.url.indexOf('?');
  if (start >= 0 && !isReadable(request.url.slice(start + 1))) throw new Problem('INVALID_URL', BROKEN_ENCODING);
  next();
}

function isReadable(query: string): boolean {
  try {
    decodeURIComponent(query);
    return true;
  } catch {
    return false;
  }
}
