import { applyDecorators, Controller, Get, Query, Res, type Type } from '@nestjs/common';
import { ApiExtraModels, ApiOkResponse, ApiTags, getSchemaPath } from '@nestjs/swagger';
import type { Response } from 'express';
import { Access, Caller } from '../auth/access.js';
import type { Principal } from '../auth/principal.js';
import { EventSummary } from '../brokers/events.dto.js';
import { EVENT_COLUMNS } from '../brokers/events.queries.js';
import { findBroker } from '../brokers/brokers.queries.js';
import type { Reader } from '../database/database.js';
import { Failures } from '../http/documented.js';
import { Problem } from '../http/problem.js';
import { timeRange } from '../http/time-range.js';
import { ExportedMessage, ExportedMetric, ExportEnd, ExportEventsQuery, ExportMessagesQuery, ExportMetricsQuery } from './export.dto.js';
import { eventRows, MESSAGE_COLUMNS, messageRows, METRIC_COLUMNS, metricRows } from './export.queries.js';
import { Exports } from './exports.js';

const EXAMPLE_END = { _end: { count: 0, sha256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' } };

/** Documents a file of rows: of NDJSON, one line's schema. */
function ExportFile(model: Type, columns: object): MethodDecorator {
  const oneOf = [model, ExportEnd].map((line) => ({ $ref: getSchemaPath(line) }));
  return applyDecorators(
    ApiExtraModels(model, ExportEnd),
    ApiOkResponse({
      description: 'The file. The schema of NDJSON is that of one line; the last one is `_end`.',
      content: {
        'application/x-ndjson': { schema: { oneOf }, example: EXAMPLE_END },
        'text/csv': { schema: { type: 'string' }, example: `${Object.keys(columns).join(',')}\r\n` },
      },
    }),
  );
}

/**
 * Rows as a file, of any size: sent as they are read, and all of one moment. A file that breaks off in the middle breaks off
 * the connection too; one of NDJSON also lacks its last line.
 */
@ApiTags('export')
@Controller('api/v1/export')
export class ExportController {
  constructor(private readonly exports: Exports) {}

  /**
   * Exports messages, oldest first, with their payloads in base64.
   * @remarks Without `batchId` and `from` from 24 hours before `to` or now. Of CSV, cells that a spreadsheet would take for a formula begin
   * with `'`; evidence is better kept as NDJSON.
   */
  @Get('messages')
  @Access('export')
  @ExportFile(ExportedMessage, MESSAGE_COLUMNS)
  @Failures()
  async messages(@Caller() caller: Principal, @Query() query: ExportMessagesQuery, @Res() response: Response): Promise<void> {
    const { format } = query;
    const range = timeRange(query, { nowMs: Date.now(), bounded: query.batchId === undefined });
    const rows = (read: Reader) => messageRows(read, { ...query, ...range });
    await this.exports.send(caller, response, { name: 'messages', format, columns: Object.keys(MESSAGE_COLUMNS), rows });
  }

  /**
   * Exports a broker's log lines as they were understood, oldest first.
   * @remarks Without `from` from 24 hours before `to` or now.
   */
  @Get('events')
  @Access('export', { platformOnly: true })
  @ExportFile(EventSummary, EVENT_COLUMNS)
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async events(@Caller() caller: Principal, @Query() query: ExportEventsQuery, @Res() response: Response): Promise<void> {
    const { broker, format } = query;
    const range = timeRange(query, { nowMs: Date.now(), bounded: true });
    const rows = (read: Reader) => ofBroker(read, broker, () => eventRows(read, broker, { ...query, ...range }));
    await this.exports.send(caller, response, { name: 'events', format, columns: Object.keys(EVENT_COLUMNS), rows });
  }

  /**
   * Exports the values of a broker's metrics as they came, by metric, of each oldest first.
   * @remarks Without `from` from 24 hours before `to` or now.
   */
  @Get('metrics')
  @Access('export', { platformOnly: true })
  @ExportFile(ExportedMetric, METRIC_COLUMNS)
  @Failures({ notFound: 'BROKER_NOT_FOUND' })
  async metrics(@Caller() caller: Principal, @Query() query: ExportMetricsQuery, @Res() response: Response): Promise<void> {
    const { broker, metric, format } = query;
    const range = timeRange(query, { nowMs: Date.now(), bounded: true });
    const rows = (read: Reader) => ofBroker(read, broker, () => metricRows(read, broker, { metric, ...range }));
    await this.exports.send(caller, response, { name: 'metrics', format, columns: Object.keys(METRIC_COLUMNS), rows });
  }
}

async function* ofBroker(read: Reader, broker: string, rows: () => AsyncGenerator<string[]>): AsyncGenerator<string[]> {
  if (!(await findBroker(read, broker))) throw new Problem('BROKER_NOT_FOUND', 'No watched broker has this name.');
  yield* rows();
}
