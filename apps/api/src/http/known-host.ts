import type { NextFunction, Request, Response } from 'express';
import { Problem } from './problem.js';

export const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/;

/**
 * Refuses requests that address us by a name we do not know. A page of a stranger can let its own name point to 127.0.0.1 (DNS
 * rebinding) and would then read what this machine may read; its requests still carry its name. Without a list, an API that
 * listens on this machine only knows its local names, and one that listens for everybody takes any.
 */
export function knownHost(listensOn: string, allowedHosts: readonly string[]) {
  const isOpen = allowedHosts.length === 0 && !LOOPBACK.test(listensOn);
  return (request: Request, _response: Response, next: NextFunction): void => {
    const name = nameOf(request.get('host') ?? '');
    if (isOpen || LOOPBACK.test(name) || name === listensOn || allowedHosts.includes(name)) return next();
    throw new Problem('UNKNOWN_HOST', 'The Host header names no host of this API; ALLOWED_HOSTS lists further ones');
  };
}

function nameOf(host: string): string {
  return host.replace(/:\d{1,5}$/, '').toLowerCase();
}
