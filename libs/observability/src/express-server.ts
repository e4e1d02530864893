import { createServer, IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { ExpressAdapter } from '@nestjs/platform-express';
import type { Express } from 'express';

/** How long a client may take, once we stop, to read an answer that is complete. Below SHUTDOWN_LIMIT_MS, with time for what closes after HTTP. */
const READING_LIMIT_MS = 5_000;

/**
 * Express gives each request and response its own prototype. Doing so to an object that another class has made costs V8 a quarter of a small
 * answer, and keeps what hangs on it until the next full collection. So here both are made with Express' prototype. Nest's options of an
 * HTTP server (`httpsOptions`, `forceCloseConnections`, `return503OnClosing`) are of no effect.
 */
export class ExpressServer extends ExpressAdapter {
  private readonly connections = new Set<Socket & { _httpMessage?: ServerResponse | null }>();

  constructor(private readonly readingLimitMs = READING_LIMIT_MS) {
    super();
  }

  override initHttpServer(): void {
    const express = this.getInstance<Express>();
    this.httpServer = createServer(
      { IncomingMessage: withPrototype(IncomingMessage, express.request), ServerResponse: withPrototype(ServerResponse, express.response) },
      express,
    );
    this.httpServer.on('connection', (connection: Socket) => {
      this.connections.add(connection);
      connection.once('close', () => this.connections.delete(connection));
    });
  }

  /**
   * Ends what has sent no request, or half of one: nothing has begun for it, and Node would wait for the rest. And later, what does not read
   * its answer.
   */
  override close(): Promise<unknown> | undefined {
    const closed = super.close();
    for (const connection of this.connections) if (!connection._httpMessage?.req.complete) connection.destroy();
    setTimeout(() => {
      for (const connection of this.connections) if (connection._httpMessage?.writableEnded) connection.destroy();
    }, this.readingLimitMs).unref();
    return closed;
  }
}

/** Node's own constructors are functions, not classes: they can be called for an object that is there already. */
function withPrototype<Constructor extends typeof IncomingMessage | typeof ServerResponse>(
  constructor: Constructor,
  prototype: object,
): Constructor {
  function Made(this: object, ...given: unknown[]): void {
    Reflect.apply(constructor, this, given);
  }
  Made.prototype = prototype;
  return Made as unknown as Constructor;
}
