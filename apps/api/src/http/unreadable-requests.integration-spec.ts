import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { answerUnreadableRequests } from './unreadable-requests.js';

// With limits of a server of its own: those of the API take a minute to reach.
const LIMITS = { headersTimeout: 100, requestTimeout: 200, connectionsCheckingInterval: 50 };

describe('what Node refuses by itself', () => {
  let server: Server;

  async function answerTo(
    text: string,
    listener: RequestListener = (request, response) => request.on('end', () => response.end()).resume(),
  ) {
    server = createServer(LIMITS, listener);
    answerUnreadableRequests(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1', () => socket.write(text));
    const chunks: Buffer[] = [];
    socket.on('data', (chunk) => chunks.push(chunk)).on('error', () => undefined);
    await once(socket, 'close');
    return Buffer.concat(chunks).toString();
  }
  afterEach(() => server.close());

  it.each([
    ['headers that never end', 'GET / HTTP/1.1\r\nHost: a\r\n', 408, 'REQUEST_TIMEOUT'],
    ['a body that never ends', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx', 408, 'REQUEST_TIMEOUT'],
    [
      'chunks with more beside them than in them',
      `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;${'x'.repeat(20_000)}\r\n`,
      413,
      'PAYLOAD_TOO_LARGE',
    ],
    [
      'a length and chunks',
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
      400,
      'REQUEST_REFUSED',
    ],
  ])('is told as a problem: %s', async (_, text, status, code) => {
    const [head = '', body = ''] = (await answerTo(text)).split('\r\n\r\n');
    expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(JSON.parse(body)).toMatchObject({ status, code });
  });

  it('is only broken off when an answer has begun', async () => {
    const answer = await answerTo('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n', (_request, response) => {
      response.write('half an answer');
    });
    expect(answer).not.toContain('REQUEST_REFUSED');
  });
});
