import { once } from 'node:events';
import { type BeforeApplicationShutdown, Injectable } from '@nestjs/common';
import type { NextFunction, Request, Response } from 'express';

/** Requests whose answers are not over. A stop waits for them while the port is still open, so that /readyz can say that we drain. */
@Injectable()
export class RequestsUnderWay implements BeforeApplicationShutdown {
  private readonly open = new Set<Response>();
  private isStopping = false;

  readonly note = (_request: Request, response: Response, next: NextFunction): void => {
    this.open.add(response);
    response.once('close', () => this.open.delete(response));
    if (this.isStopping) endConnectionAfter(response);
    next();
  };

  /** Those of now, as far as they have come whole: probes go on coming, and may never end to. After streams and exports have been ended. */
  async beforeApplicationShutdown(): Promise<void> {
    this.isStopping = true;
    const whole = [...this.open].filter((response) => response.req.complete);
    whole.forEach(endConnectionAfter);
    await Promise.all(whole.map((response) => once(response, 'close')));
  }
}

/** A server that is closed goes on to answer on a connection that is never idle, as that of a busy proxy. */
function endConnectionAfter(response: Response): void {
  if (!response.headersSent) response.set('Connection', 'close');
}
