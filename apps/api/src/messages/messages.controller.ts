import { createHash } from 'node:crypto';
import { Controller, Get, Header, HttpCode, Param, Post, Query, Res } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { recordVerification } from '../alerts/failed-batches.queries.js';
import { Access, Caller } from '../auth/access.js';
import type { Principal } from '../auth/principal.js';
import { verifyStoredMessage } from '../batches/verify-batch.queries.js';
import { Database, type Reader } from '../database/database.js';
import { isDataException } from '../database/database-errors.js';
import { Failures } from '../http/documented.js';
import type { JsonText } from '../http/json-text.js';
import { ListRequest, type Page } from '../http/list.js';
import { invalidParameter, Problem } from '../http/problem.js';
import { DAY_MS, spanMs, timeRange } from '../http/time-range.js';
import { containedJsonFault } from './contained-json.js';
import { MessageVerificationResult } from './message-verification.dto.js';
import { MessageDetails, MessagePage, MessagePath, MessagesQuery } from './messages.dto.js';
import { findMessage, findPayload, listMessages, messageKeys } from './messages.queries.js';

@ApiTags('messages')
@Controller('api/v1/messages')
@Access('telemetry:read')
export class MessagesController {
  constructor(private readonly database: Database) {}

  /**
   * Lists messages, newest first; those of a batch from its last leaf to its first.
   * @remarks Without `deviceId`, `batchId`, `hash`, `from` and `to` the last 24 hours. `data` finds messages by what their JSON says.
   */
  @Get()
  @ApiOkResponse({ description: 'A page of messages.', type: MessagePage })
  @Failures()
  async list(@Caller() caller: Principal, @Query() query: MessagesQuery): Promise<Page<JsonText>> {
    const list = new ListRequest('messages', messageKeys(query), query);
    const bounded = query.deviceId === undefined && query.batchId === undefined && query.hash === undefined;
    const range = timeRange(query, { nowMs: list.nowMs, bounded });
    const { data } = query;
    if (data !== undefined) assertSearchable(data, caller, bounded ? spanMs(range, list.nowMs) : 0);
    const work = (read: Reader) => listMessages(read, { ...query, ...range }, list);
    // A batch's days are looked up first; of the whole platform, a device's tenants and what contains `data` too.
    const isOneStatement = query.batchId === undefined && (!caller.isPlatform || (data === undefined && query.deviceId === undefined));
    try {
      return await (isOneStatement ? this.database.readOnce(caller, work) : this.database.read(caller, work));
    } catch (error) {
      if (data !== undefined && isDataException(error)) throw invalidParameter('data', 'is JSON that PostgreSQL cannot hold');
      throw error;
    }
  }

  /**
   * Shows one message and the state of its batch.
   * @remarks `nonce` is what the leaf is computed from besides the message itself. The bytes are at `…/payload`.
   */
  @Get(':messageId')
  @Header('Cache-Control', 'no-cache')
  @ApiOkResponse({ description: 'The message.', type: MessageDetails })
  @Failures({ notFound: 'MESSAGE_NOT_FOUND' })
  async get(@Caller() caller: Principal, @Param() { messageId }: MessagePath): Promise<MessageDetails> {
    const message = await this.database.readOnce(caller, (read) => findMessage(read, messageId));
    return message ?? notFound();
  }

  /**
   * Returns the bytes of the payload exactly as they were received; `sha256sum` of them is `messageHash`.
   * @remarks They never change: a client may keep them. Bytes that no longer have the stored hash are sent all the same, and not to be
   * kept.
   */
  @Get(':messageId/payload')
  @ApiOkResponse({
    description: 'The bytes. `ETag` is their SHA-256 in hex.',
    content: { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } },
  })
  @Failures({ notFound: 'MESSAGE_NOT_FOUND' })
  async payload(@Caller() caller: Principal, @Param() { messageId }: MessagePath, @Res() response: Response): Promise<void> {
    const { payload, messageHash } = (await this.database.readOnce(caller, (read) => findPayload(read, messageId))) ?? notFound();
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

  /**
   * Recomputes a message's hash from its bytes, and its leaf and place in the batch's tree.
   * @remarks A sealed batch is compared by the leaf hashes kept at sealing, so what happened to its other messages does not matter here.
   * This checks the database against itself: whoever can alter messages and batch alike is found by the transparency log.
   */
  @Post(':messageId/verify')
  @HttpCode(200)
  @ApiOkResponse({ description: 'The result, also when the message is not valid.', type: MessageVerificationResult })
  @Failures({ notFound: 'MESSAGE_NOT_FOUND', body: true })
  async verify(@Caller() caller: Principal, @Param() { messageId }: MessagePath): Promise<MessageVerificationResult> {
    const result = (await this.database.read(caller, (read) => verifyStoredMessage(read, messageId))) ?? notFound();
    // That one message is as it was says nothing of its batch.
    if (!result.isValid) await this.database.write(caller, (run) => recordVerification(run, result.batchId, false));
    return result;
  }
}

/** What a client takes for 24 hours ago is a little longer ago when we read it, and its clock may differ. */
const SLACK_MS = 5 * 60_000;

/** The index of raw_data is of no use under row-level security, so whoever is bound by it must narrow the search otherwise. */
function assertSearchable(data: string, { isPlatform }: Principal, rangeMs: number): void {
  const fault = containedJsonFault(data);
  if (fault !== undefined) throw invalidParameter('data', fault);
  if (!isPlatform && rangeMs > DAY_MS + SLACK_MS)
    throw invalidParameter('data', 'needs a deviceId, a batchId, a hash, or a range of at most 24 hours');
}

function notFound(): never {
  throw new Problem('MESSAGE_NOT_FOUND', 'No message has this id.');
}
