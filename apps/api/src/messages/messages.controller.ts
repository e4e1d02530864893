import { createHash } from 'node:crypto';
import { Controller, Get, Header, Param, Query, Res } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { Access, Caller } from '../auth/access.js';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { Failures } from '../http/documented.js';
import { ListRequest } from '../http/list.js';
import { Problem } from '../http/problem.js';
import { timeRange } from '../http/time-range.js';
import { MessageDetails, MessagePage, MessagePath, MessagesQuery } from './messages.dto.js';
import { findMessage, findPayload, listMessages } from './messages.queries.js';

@ApiTags('messages')
@Controller('api/v1/messages')
@Access('telemetry:read')
export class MessagesController {
  constructor(private readonly database: Database) {}

  /**
   * Lists messages, newest first.
   * @remarks Without `deviceId`, `batchId`, `hash`, `from` and `to` the last 24 hours.
   */
  @Get()
  @ApiOkResponse({ description: 'A page of messages.', type: MessagePage })
  @Failures()
  async list(@Caller() caller: Principal, @Query() query: MessagesQuery): Promise<MessagePage> {
    const list = new ListRequest('messages', ['uuid'], query);
    const bounded = query.deviceId === undefined && query.batchId === undefined && query.hash === undefined;
    const range = timeRange(query, { nowMs: list.nowMs, bounded });
    return this.database.read(caller, (read) => listMessages(read, { ...query, ...range }, list));
  }

  /** Shows one message and the state of its batch. */
  @Get(':messageId')
  @Header('Cache-Control', 'no-cache')
  @ApiOkResponse({ description: 'The message.', type: MessageDetails })
  @Failures({ notFound: 'MESSAGE_NOT_FOUND' })
  async get(@Caller() caller: Principal, @Param() { messageId }: MessagePath): Promise<MessageDetails> {
    const message = await this.database.read(caller, (read) => findMessage(read, messageId));
    return message ?? notFound();
  }

  /** Returns the bytes of the payload exactly as they were received; `sha256sum` of them is `messageHash`. */
  @Get(':messageId/payload')
  @ApiOkResponse({
    description: 'The bytes. `ETag` is their SHA-256 in hex.',
    content: { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } },
  })
  @Failures({ notFound: 'MESSAGE_NOT_FOUND' })
  async payload(@Caller() caller: Principal, @Param() { messageId }: MessagePath, @Res() response: Response): Promise<void> {
    const { payload, messageHash } = (await this.database.read(caller, (read) => findPayload(read, messageId))) ?? notFound();
    const hash = createHash('sha256').update(payload).digest('hex');
    response
      // A device chose these bytes: they are never shown as a page of ours.
      .attachment(`${messageId}.bin`)
      .type('application/octet-stream')
      .set('ETag', `"${hash}"`)
      // Bytes that no longer have the stored hash were altered, and may be put right again.
      .set('Cache-Control', hash === messageHash ? 'private, max-age=31536000, immutable' : 'no-store')
      .send(payload);
  }
}

function notFound(): never {
  throw new Problem('MESSAGE_NOT_FOUND', 'No message has this id.');
}
