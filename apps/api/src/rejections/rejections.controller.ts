import { createHash } from 'node:crypto';
import { Controller, Get, Header, HttpCode, Param, Post, Query, Res } from '@nestjs/common';
import { ApiConflictResponse, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { recordAct } from '@tallystick/access';
import type { Response } from 'express';
import { Access, Caller } from '../auth/access.js';
import type { Principal } from '../auth/principal.js';
import { Database, type Reader } from '../database/database.js';
import { Failures, problemContent } from '../http/documented.js';
import { ListRequest } from '../http/list.js';
import { Problem } from '../http/problem.js';
import { requestIdOf } from '../http/request-id.js';
import { timeRange } from '../http/time-range.js';
import { RejectionPage, RejectionPath, RejectionsQuery, RejectionSummary } from './rejections.dto.js';
import { discardRejection, findRejectedPayload, findRejection, listRejections, requestReplay } from './rejections.queries.js';

/** What somebody may do with a rejection. */
interface Decision {
  /** For the audit log. */
  action: string;
  /** The rejection as it is then; undefined when its state does not allow it. */
  decision: (run: Reader, rejectionId: string) => Promise<RejectionSummary | undefined>;
  refusal: (rejection: RejectionSummary) => Problem;
}

/** The quarantine. What no tenant can be told of is the platform's. */
@ApiTags('rejections')
@Controller('api/v1/rejections')
export class RejectionsController {
  constructor(private readonly database: Database) {}

  /**
   * Lists rejected messages, newest first.
   * @remarks Those of topics that name no tenant are seen by keys of the platform only.
   */
  @Get()
  @Access('telemetry:read')
  @ApiOkResponse({ description: 'A page of rejections.', type: RejectionPage })
  @Failures()
  async list(@Caller() caller: Principal, @Query() query: RejectionsQuery): Promise<RejectionPage> {
    const list = new ListRequest('rejections', ['time', 'uuid'], query);
    const range = timeRange(query, { nowMs: list.nowMs, bounded: false });
    return this.database.readOnce(caller, (read) => listRejections(read, { ...query, ...range }, list));
  }

  /**
   * Shows one rejected message.
   * @remarks The bytes are at `…/payload`.
   */
  @Get(':rejectionId')
  @Access('telemetry:read')
  @Header('Cache-Control', 'no-cache')
  @ApiOkResponse({ description: 'The rejection.', type: RejectionSummary })
  @Failures({ notFound: 'REJECTION_NOT_FOUND' })
  async get(@Caller() caller: Principal, @Param() { rejectionId }: RejectionPath): Promise<RejectionSummary> {
    return (await this.database.readOnce(caller, (read) => findRejection(read, rejectionId))) ?? notFound();
  }

  /**
   * Returns the bytes of the payload as they were received, or the first of them when it was `truncated`.
   * @remarks Of a payload that was too large to keep, `payloadHash` and `payloadSize` are still those of the whole.
   */
  @Get(':rejectionId/payload')
  @Access('telemetry:read')
  @ApiOkResponse({
    description: 'The bytes. `ETag` is their SHA-256 in hex.',
    content: { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } },
  })
  @Failures({ notFound: 'REJECTION_NOT_FOUND' })
  async payload(@Caller() caller: Principal, @Param() { rejectionId }: RejectionPath, @Res() response: Response): Promise<void> {
    const payload = (await this.database.readOnce(caller, (read) => findRejectedPayload(read, rejectionId))) ?? notFound();
    response
      // A stranger chose these bytes: they are never shown as a page of ours.
      .attachment(`${rejectionId}.bin`)
      .type('application/octet-stream')
      .set('ETag', `"${createHash('sha256').update(payload).digest('hex')}"`)
      .send(payload);
  }

  /**
   * Marks a rejection as discarded: somebody has looked at it, and it stays out.
   * @remarks Also one whose replay is requested, until a bridge has stored it. The bytes stay until the quarantine's bound removes
   * them. The act is in the audit log.
   */
  @Post(':rejectionId/discard')
  @HttpCode(200)
  @Access('rejections:write')
  @ApiOkResponse({ description: 'The rejection as it is now.', type: RejectionSummary })
  @ApiConflictResponse({ description: '`REJECTION_NOT_NEW`: it was discarded or replayed before', content: problemContent })
  @Failures({ notFound: 'REJECTION_NOT_FOUND', body: true })
  async discard(
    @Caller() caller: Principal,
    @Param() { rejectionId }: RejectionPath,
    @Res({ passthrough: true }) response: Response,
  ): Promise<RejectionSummary> {
    return this.decide(caller, response, rejectionId, {
      action: 'rejection.discard',
      decision: discardRejection,
      refusal: ({ status }) => new Problem('REJECTION_NOT_NEW', `This rejection cannot be discarded any more: it is ${status}.`),
    });
  }

  /**
   * Asks for a replay: a bridge takes the message through intake again, by its present configuration.
   * @remarks It takes about a second when a bridge is ready. Then the status is `replayed`, with the message in `replayedAs`; or `new`
   * again, with the reason for which it was refused this time. Until then `discard` takes the request back. The act is in the audit log.
   */
  @Post(':rejectionId/replay')
  @HttpCode(200)
  @Access('rejections:write')
  @ApiOkResponse({ description: 'The rejection as it is now: `replay_requested`.', type: RejectionSummary })
  @ApiConflictResponse({
    description:
      '`REJECTION_NOT_NEW`: it was decided about before, or its replay is requested; `REJECTION_TRUNCATED`: only the beginning of its payload was kept',
    content: problemContent,
  })
  @Failures({ notFound: 'REJECTION_NOT_FOUND', body: true })
  async replay(
    @Caller() caller: Principal,
    @Param() { rejectionId }: RejectionPath,
    @Res({ passthrough: true }) response: Response,
  ): Promise<RejectionSummary> {
    return this.decide(caller, response, rejectionId, {
      action: 'rejection.replay',
      decision: requestReplay,
      refusal: ({ status }) =>
        status === 'new'
          ? new Problem('REJECTION_TRUNCATED', 'Only the beginning of the payload was kept, so the message cannot be replayed.')
          : new Problem('REJECTION_NOT_NEW', `Only a new rejection can be replayed; this one is ${status}.`),
    });
  }

  /** Changes a rejection, or says why its state does not allow it; the act is recorded in the same transaction. */
  private decide(
    caller: Principal,
    response: Response,
    rejectionId: string,
    { action, decision, refusal }: Decision,
  ): Promise<RejectionSummary> {
    const actor = { name: caller.name, requestId: requestIdOf(response) };
    return this.database.write(caller, async (run) => {
      const decided = await decision(run, rejectionId);
      if (!decided) throw refusal((await findRejection(run, rejectionId)) ?? notFound());
      await recordAct(run, actor, { action, object: rejectionId, details: { tenantId: decided.tenantId } });
      return decided;
    });
  }
}

function notFound(): never {
  throw new Problem('REJECTION_NOT_FOUND', 'No rejection has this id.');
}
