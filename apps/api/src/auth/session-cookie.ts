import type { CookieOptions, Request, Response } from 'express';

/** The name documented; over TLS browsers get it with the prefix that binds it to this host and to TLS. */
export const SESSION_COOKIE = 'tallystick_session';
const SECURE_PREFIX = '__Host-';

const OPTIONS: CookieOptions = { httpOnly: true, sameSite: 'strict', path: '/' };

export function setSessionCookie(request: Request, response: Response, session: string): void {
  response.cookie(nameFor(request), session, { ...OPTIONS, secure: request.secure });
}

export function clearSessionCookie(request: Request, response: Response): void {
  response.clearCookie(nameFor(request), { ...OPTIONS, secure: request.secure });
}

/** What the session cookie holds; undefined without one. */
export function sessionCookieOf(request: Request): string | undefined {
  const wanted = `${nameFor(request)}=`;
  for (const part of (request.headers.cookie ?? '').split(';')) {
    const cookie = part.trim();
    if (cookie.startsWith(wanted)) return cookie.slice(wanted.length);
  }
  return undefined;
}

function nameFor(request: Request): string {
  return request.secure ? SECURE_PREFIX + SESSION_COOKIE : SESSION_COOKIE;
}
