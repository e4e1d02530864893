import { setTimeout as sleep } from 'node:timers/promises';
import type { Response } from 'express';
import { receives } from '../brokers/receiving-filters.js';
import type { Database, Sight } from '../database/database.js';
import { databaseUnavailable, statementGivenUp } from '../database/database-errors.js';
import type { PacedBody } from '../http/paced-body.js';
import type { MessageSummary } from '../messages/messages.dto.js';
import { eventText } from './event-text.js';
import type { StreamPosition } from './stream-position.js';
import { messageIdsSince, MOST_ROWS, newMessages } from './stream.queries.js';

const LOOK_EVERY_MS = 1_000;
/** With the 2 s for which a key is remembered and the time of a look, a revoked key's stream ends within 5 s. */
const ASK_EVERY_MS = 2_000;
const HEARTBEAT_MS = 15_000;
/** What a browser waits before it connects again. */
const RETRY_MS = 2_000;

export interface MessageStreamRequest {
  sight: Sight;
  filters: readonly string[];
  position: StreamPosition;
  /** Whether what is there already at the position is sent. */
  isReplay: boolean;
  /** Whether the caller may go on. */
  mayGoOn: () => Promise<boolean>;
}

/**
 * One client's stream. It looks for itself, so that a replay, a slow client and a quick one each go at their own pace and nothing
 * is kept for them: the next look is when the last one's messages are written.
 */
export class MessageStream {
  private readonly ended = new AbortController();
  private askedAtMs = performance.now();
  private wroteAtMs = performance.now();

  constructor(
    private readonly database: Database,
    private readonly response: Response,
    private readonly body: PacedBody,
    private readonly request: MessageStreamRequest,
  ) {
    response.once('close', () => this.ended.abort());
  }

  /** Resolves when the stream is over. Throws a Problem only before the first byte. */
  async run(): Promise<void> {
    const { position, isReplay, sight } = this.request;
    if (!isReplay) position.take(await this.database.read(sight, (read) => messageIdsSince(read, position)), Date.now());
    this.response.set({ 'Content-Type': 'text/event-stream', Connection: 'close', 'X-Accel-Buffering': 'no' });
    await this.body.write(`retry: ${RETRY_MS}\n\n`);
    while (!this.ended.signal.aborted && !this.response.writableEnded) {
      const messages = await this.look();
      if (messages === undefined) return void this.response.end();
      if (!(await this.write(messages))) return;
      if (messages.length < MOST_ROWS) await sleep(LOOK_EVERY_MS, undefined, { signal: this.ended.signal }).catch(() => undefined);
    }
  }

  /** What is new; nothing while the database is away, undefined when the caller may not go on. */
  private async look(): Promise<MessageSummary[] | undefined> {
    const { position, sight, mayGoOn } = this.request;
    try {
      if (performance.now() - this.askedAtMs >= ASK_EVERY_MS) {
        if (!(await mayGoOn())) return undefined;
        this.askedAtMs = performance.now();
      }
      const nowMs = Date.now();
      const messages = await this.database.read(sight, (read) => newMessages(read, position));
      const ids = messages.map((message) => message.messageId);
      position.take(ids, nowMs);
      if (messages.length < MOST_ROWS) position.catchUp(nowMs);
      return messages;
    } catch (error) {
      if (!databaseUnavailable(error) && !statementGivenUp(error)) throw error;
      return [];
    }
  }

  /** False: the client is gone. */
  private async write(messages: readonly MessageSummary[]): Promise<boolean> {
    for (const message of messages) {
      if (!this.request.filters.some((filter) => receives(filter, message.topic))) continue;
      if (!(await this.put(eventText(message.messageId, 'message', message)))) return false;
    }
    return performance.now() - this.wroteAtMs < HEARTBEAT_MS || this.put(': heartbeat\n\n');
  }

  private put(text: string): Promise<boolean> {
    this.wroteAtMs = performance.now();
    return this.body.write(text);
  }
}
