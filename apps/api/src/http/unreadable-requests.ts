import { randomUUID } from 'node:crypto';
import { type Server, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { Problem, problemDocument } from './problem.js';

/** For a client to read the answer and close. */
const LINGER_MS = 1_000;

/**
 * What Node's HTTP parser refuses never becomes a request, and so never meets the filter: it is told here as a problem like the others.
 * The connection ends with it, since nobody knows where the next request would begin.
 */
export function answerUnreadableRequests(server: Server): void {
  server.on('clientError', (error: Error & { code?: string }, socket: Socket & { _httpMessage?: { headersSent: boolean } | null }) => {
    // As Node does by itself: with half an answer out, more would be taken for a part of it.
    if (error.code === 'ECONNRESET' || !socket.writable || socket._httpMessage?.headersSent) return void socket.destroy();
    socket.end(rawAnswer(problemOf(error.code)));
    // Not at once: what the client is still sending would make its system throw the answer away.
    socket.setTimeout(LINGER_MS, () => socket.destroy());
  });
}

function problemOf(code: string | undefined): Problem {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new Problem('HEADERS_TOO_LARGE', 'Address and headers together may have 16 KiB.');
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new Problem('PAYLOAD_TOO_LARGE', 'Send less at once.');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new Problem('REQUEST_TIMEOUT', 'Send it faster.');
    case undefined:
    default:
      return new Problem('REQUEST_REFUSED', 'This is not HTTP.');
  }
}

function rawAnswer(problem: Problem): string {
  const requestId = randomUUID();
  const body = JSON.stringify(problemDocument(problem, requestId));
  return [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    'Content-Type: application/problem+json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Cache-Control: no-store',
    'X-Content-Type-Options: nosniff',
    `X-Request-Id: ${requestId}`,
    'Connection: close',
    '',
    body,
  ].join('\r\n');
}
