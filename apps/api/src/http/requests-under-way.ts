import { once } from 'node:events';
import { type BeforeApplicationShutdown, Injectable } from '@nestjs/common';
import type { NextFunction, Request, Response } from 'express';

/** Requests whose answers are not over. A stop waits for them while the port is still open, so that /readyz can say that we drain. */
@Injectable()
export class RequestsUnderWay implements BeforeApplicationShutdown {
  private readonly open = new Set<Response>();

  readonly note = (_request: Request, response: Response, next: NextFunction): void => {
    this.open.add(response);
    response.once('close', () => this.open.delete(response));
    next();
  };

  /** Those of now: probes go on coming, and may never end to. */
  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all([...this.open].map((response) => once(response, 'close')));
  }
}
