import { Controller, Get, Header, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { recordVerification } from '../alerts/failed-batches.queries.js';
import { Access, Caller } from '../auth/access.js';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { Failures } from '../http/documented.js';
import { ListQuery } from '../http/list-query.dto.js';
import type { JsonText } from '../http/json-text.js';
import { ListRequest, type Page } from '../http/list.js';
import { Problem } from '../http/problem.js';
import { timeRange } from '../http/time-range.js';
import { MessagePage } from '../messages/messages.dto.js';
import { listBatchMessages } from '../messages/messages.queries.js';
import { BatchVerificationResult } from './batch-verification.dto.js';
import { BatchDetails, BatchesQuery, BatchPage, BatchPath } from './batches.dto.js';
import { findBatch, listBatches } from './batches.queries.js';
import { verifyStoredBatch } from './verify-batch.queries.js';

const MAX_DIFFERENCES = 100;

@ApiTags('batches')
@Controller('api/v1/batches')
@Access('telemetry:read')
export class BatchesController {
  constructor(private readonly database: Database) {}

  /**
   * Lists batches, recent first.
   * @remarks `status=pending` shows the batches that are being filled, with their age.
   */
  @Get()
  @ApiOkResponse({ description: 'A page of batches.', type: BatchPage })
  @Failures()
  async list(@Caller() caller: Principal, @Query() query: BatchesQuery): Promise<BatchPage> {
    const list = new ListRequest('batches', ['time', 'uuid'], query);
    const range = timeRange(query, { nowMs: list.nowMs, bounded: false });
    return this.database.readOnce(caller, (read) => listBatches(read, { ...query, ...range }, list));
  }

  /**
   * Shows one batch, with its devices, its size and the number of rows that are really there.
   * @remarks `actualMessageCount` is counted from the rows; `POST …/verify` tells whether they are the ones that were sealed.
   */
  @Get(':batchId')
  @Header('Cache-Control', 'no-cache')
  @ApiOkResponse({ description: 'The batch.', type: BatchDetails })
  @Failures({ notFound: 'BATCH_NOT_FOUND' })
  async get(@Caller() caller: Principal, @Param() { batchId }: BatchPath): Promise<BatchDetails> {
    const batch = await this.database.readOnce(caller, (read) => findBatch(read, batchId));
    return batch ?? notFound();
  }

  /**
   * Lists the messages of a batch in leaf order, the order in which they are hashed.
   * @remarks With `nonce` of each message the tree can be computed outside of this API: docs/formats.md has the bytes of a leaf.
   */
  @Get(':batchId/messages')
  @ApiOkResponse({ description: 'A page of messages.', type: MessagePage })
  @Failures({ notFound: 'BATCH_NOT_FOUND' })
  async messages(@Caller() caller: Principal, @Param() { batchId }: BatchPath, @Query() query: ListQuery): Promise<Page<JsonText>> {
    const list = new ListRequest(`batches/${batchId}/messages`, ['int', 'uuid'], query);
    return (await this.database.read(caller, (read) => listBatchMessages(read, batchId, list))) ?? notFound();
  }

  /**
   * Recomputes a batch from its rows and names the messages that differ.
   * @remarks The hash shows whether the rows are those that were sealed; a pending batch is checked against its last commit.
   * This checks the database against itself: whoever can alter rows and batch alike is found by the transparency log.
   */
  @Post(':batchId/verify')
  @HttpCode(200)
  @ApiOkResponse({ description: 'The result, also when the batch is not valid.', type: BatchVerificationResult })
  @Failures({ notFound: 'BATCH_NOT_FOUND', body: true })
  async verify(@Caller() caller: Principal, @Param() { batchId }: BatchPath): Promise<BatchVerificationResult> {
    const { differences, ...result } = (await this.database.read(caller, (read) => verifyStoredBatch(read, batchId))) ?? notFound();
    await this.database.write(caller, (run) => recordVerification(run, batchId, result.isValid));
    return { batchId, ...result, differenceCount: differences.length, differences: differences.slice(0, MAX_DIFFERENCES) };
  }
}

function notFound(): never {
  throw new Problem('BATCH_NOT_FOUND', 'No batch has this id.');
}
