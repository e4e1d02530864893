import { type BeforeApplicationShutdown, Inject, Injectable, Logger } from '@nestjs/common';
import type { Request, Response } from 'express';
import { Authenticator } from '../auth/authenticator.js';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { LastingAnswers } from '../http/lasting-answers.js';
import { PacedBody, STALL_LIMIT } from '../http/paced-body.js';
import { Problem } from '../http/problem.js';
import { MessageStream } from './message-stream.js';
import { receivedMsOf, StreamPosition } from './stream-position.js';

const MOST_STREAMS = 50;
const MOST_STREAMS_OF_ONE_KEY = 5;
const RETRY_AFTER_S = 10;
const REPLAYED_MS = 3_600_000;

/** The streams that are open. */
@Injectable()
export class Streams implements BeforeApplicationShutdown {
  private readonly logger = new Logger('Stream');
  private readonly open = new LastingAnswers({
    most: MOST_STREAMS,
    mostOfOneKey: MOST_STREAMS_OF_ONE_KEY,
    retryAfterS: RETRY_AFTER_S,
  });

  constructor(
    private readonly database: Database,
    private readonly authenticator: Authenticator,
    @Inject(STALL_LIMIT) private readonly stallMs: number,
  ) {}

  /** Ends the streams in order; one whose client does not read would never take its end. */
  beforeApplicationShutdown(): void {
    this.open.stop((response) => void (response.writableNeedDrain ? response.destroy() : response.end()));
  }

  /** Resolves when the stream is over. Throws a Problem only before the first byte. `lastEventId`: of the message to go on after. */
  async send(caller: Principal, request: Request, response: Response, filters: readonly string[], lastEventId?: string): Promise<void> {
    await this.open.while(response, caller.keyId, async () => {
      const position = lastEventId === undefined ? StreamPosition.now(Date.now()) : positionAfter(lastEventId, Date.now());
      // A stream has no headers but these, and a HEAD of it no end.
      if (request.method === 'HEAD') return void response.type('text/event-stream').end();
      const body = new PacedBody(response, this.stallMs);
      const mayGoOn = () => this.mayGoOn(caller, request);
      const isReplay = lastEventId !== undefined;
      await new MessageStream(this.database, response, body, { sight: caller, filters, position, isReplay, mayGoOn }).run();
      if (body.isStalled) this.logger.warn('stream cut off: the client has stopped to read', { stallMs: this.stallMs });
    });
  }

  private async mayGoOn(caller: Principal, request: Request): Promise<boolean> {
    try {
      const { keyId } = await this.authenticator.principalOf(request);
      return keyId === caller.keyId;
    } catch (error) {
      if (error instanceof Problem) return false;
      throw error;
    }
  }
}

function positionAfter(messageId: string, nowMs: number): StreamPosition {
  const receivedMs = receivedMsOf(messageId);
  if (receivedMs < nowMs - REPLAYED_MS) {
    throw new Problem('REPLAY_TOO_OLD', 'Streams go back one hour. Read the list of messages, then begin without Last-Event-ID.');
  }
  return new StreamPosition(Math.min(receivedMs, nowMs), [messageId]);
}
