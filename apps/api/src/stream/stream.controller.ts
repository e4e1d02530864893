import { Controller, Get, Headers, Query, Req, Res } from '@nestjs/common';
import { ApiGoneResponse, ApiHeader, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { Access, Caller } from '../auth/access.js';
import type { Principal } from '../auth/principal.js';
import { Failures, problemContent } from '../http/documented.js';
import { invalidParameter } from '../http/problem.js';
import { StreamQuery } from './stream.dto.js';
import { Streams } from './streams.js';

const MESSAGE_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

const EXAMPLE = `retry: 2000

id: 019ab5e8-2c00-7000-8000-0000000000a1
event: message
data: {"messageId":"019ab5e8-2c00-7000-8000-0000000000a1","topic":"veep/factory1/line2/SENSOR_001/data","rawData":{"kwh":15.7}}

: heartbeat

`;

@ApiTags('stream')
@Controller('api/v1/stream')
@Access('telemetry:read')
export class StreamController {
  constructor(private readonly streams: Streams) {}

  /**
   * Sends messages as they are stored, as server-sent events.
   * @remarks Each event is a message as in the list, `rawData` being null for payloads of more than 4 KiB; its id is the message's. Order
   * is that of receipt, except for messages that were stored late. With `Last-Event-ID` what came since is sent first, at most an hour of
   * it; around that message some may come again. A message that is stored more than 5 s after later ones, or by a bridge whose clock is 20 s
   * behind, is in the lists only. A comment comes every 15 s. At most 5 streams for each key.
   */
  @Get()
  @ApiHeader({
    name: 'Last-Event-ID',
    required: false,
    description: 'The last event that was received; browsers send it by themselves.',
    schema: { type: 'string', format: 'uuid' },
  })
  @ApiOkResponse({
    description: 'The stream. It ends with the key, and when the API stops.',
    content: { 'text/event-stream': { schema: { type: 'string' }, example: EXAMPLE } },
  })
  @ApiGoneResponse({ description: '`REPLAY_TOO_OLD`: `Last-Event-ID` is of more than an hour ago', content: problemContent })
  @Failures()
  async messages(
    @Caller() caller: Principal,
    @Query() { topics }: StreamQuery,
    @Headers('last-event-id') lastEventId: string | undefined,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    // Browsers send it empty before the first event.
    const goOnAfter = lastEventId === '' ? undefined : lastEventId?.toLowerCase();
    if (goOnAfter !== undefined && !MESSAGE_ID.test(goOnAfter)) throw invalidParameter('Last-Event-ID', 'must be the id of a message');
    await this.streams.send(caller, request, response, topics, goOnAfter);
  }
}
