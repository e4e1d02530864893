import { once } from 'node:events';
import { IncomingMessage, type Server, ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import type { Express } from 'express';
import { ExpressServer } from './express-server.js';

describe('ExpressServer', () => {
  it('makes requests and responses with the prototypes that Express would give them', async () => {
    const adapter = new ExpressServer();
    adapter.initHttpServer();
    const express = adapter.getInstance<Express>();
    const server = adapter.getHttpServer() as Server;
    const made: unknown[] = [];
    server.prependListener('request', (request, response) =>
      made.push(Object.getPrototypeOf(request) === express.request, Object.getPrototypeOf(response) === express.response),
    );
    express.get('/', (request, response) => {
      response.json([request instanceof IncomingMessage, response instanceof ServerResponse, request.socket.remoteAddress]);
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    expect([made, await answer.json()]).toEqual([
      [true, true],
      [true, true, '127.0.0.1'],
    ]);
    await new Promise((closed) => server.close(closed));
  });

  it.each(['', 'GET / HTTP/1.1\r\n', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{'])(
    'is closed although it waits behind %j',
    async (sent) => {
      const adapter = new ExpressServer();
      adapter.initHttpServer();
      const server = adapter.getHttpServer() as Server;
      await once(server.listen(0, '127.0.0.1'), 'listening');
      const arrived = once(server, sent.startsWith('POST') ? 'request' : 'connection');
      const connection = connect((server.address() as AddressInfo).port, '127.0.0.1');
      connection.on('error', () => undefined).write(sent);
      await arrived;
      await adapter.close();
      expect(server.listening).toBe(false);
    },
  );

  it('is closed although a client does not read the answer that was still made for it', async () => {
    const adapter = new ExpressServer(50);
    adapter.initHttpServer();
    const server = adapter.getHttpServer() as Server;
    let finish: () => void = () => undefined;
    adapter.getInstance<Express>().get('/', (_, response) => void (finish = () => response.send(Buffer.alloc(64 * 1024 * 1024))));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const reader = connect((server.address() as AddressInfo).port, '127.0.0.1');
    reader.on('error', () => undefined).write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await once(server, 'request');
    const closed = adapter.close();
    finish();
    await closed;
    expect(server.listening).toBe(false);
    reader.destroy();
  });
});
