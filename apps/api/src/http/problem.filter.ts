import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException, Injectable, Logger } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { Express, Request, Response } from 'express';
import { STATEMENT_LIMIT_MS } from '../database/transaction.js';
import { databaseUnavailable, statementGivenUp } from '../database/database-errors.js';
import { allowedMethods } from './allowed-methods.js';
import { BROKEN_ENCODING, Problem, problemDocument } from './problem.js';
import { requestIdOf } from './request-id.js';

/** Seconds after which a client may ask again when the database is away. */
const RETRY_AFTER_S = '2';
/** Without a time to ask again: the same question costs the same, unless the database was busy with something else. */
const GIVEN_UP = `The database was not done after ${STATEMENT_LIMIT_MS / 1_000} s and gave up. Ask for less: a shorter time range, more filters.`;

/** Turns everything thrown into application/problem+json. What is not expected is logged in full and told as INTERNAL_ERROR. */
@Catch()
@Injectable()
export class ProblemFilter implements ExceptionFilter {
  private readonly logger = new Logger('Request');

  constructor(private readonly adapterHost: HttpAdapterHost) {}

  catch(thrown: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const request = http.getRequest<Request>();
    const response = http.getResponse<Response>();
    const problem = this.problemOf(thrown, request);
    if (problem.status >= 500) this.logger.error('request failed', thrown, { method: request.method, url: request.originalUrl });
    // Half an answer is out: only breaking off tells the client that the rest is missing.
    if (response.headersSent) return void response.destroy();
    response
      .status(problem.status)
      .set({ 'Cache-Control': 'no-store', ...problem.options.headers })
      .type('application/problem+json')
      .send(JSON.stringify(problemDocument(problem, requestIdOf(response))));
  }

  private problemOf(thrown: unknown, request: Request): Problem {
    if (thrown instanceof Problem) return thrown;
    if (databaseUnavailable(thrown)) {
      const headers = { 'Retry-After': RETRY_AFTER_S };
      return new Problem('DATABASE_UNAVAILABLE', 'Ask again in a moment.', { headers, cause: thrown });
    }
    if (statementGivenUp(thrown)) return new Problem('QUERY_GIVEN_UP', GIVEN_UP, { cause: thrown });
    if (thrown instanceof HttpException && thrown.getStatus() < 500) return this.frameworkProblem(thrown, request);
    return new Problem('INTERNAL_ERROR', 'The request id names the log line that says more.', { cause: thrown });
  }

  /** What Nest, Express and the body parser throw. Their texts repeat input, so none is passed on. */
  private frameworkProblem(thrown: HttpException, request: Request): Problem {
    switch (thrown.getStatus()) {
      case 400:
        if (thrown.cause instanceof URIError) return new Problem('INVALID_URL', BROKEN_ENCODING);
        if (thrown.cause instanceof SyntaxError) return new Problem('INVALID_JSON', 'The body could not be read as JSON.');
        return new Problem('REQUEST_REFUSED', 'The request could not be read.');
      case 404: {
        const allowed = allowedMethods(this.adapterHost.httpAdapter.getInstance<Express>(), request.path);
        if (allowed.length === 0) return new Problem('ROUTE_NOT_FOUND', 'The API is described at /api/docs.');
        const headers = { Allow: allowed.join(', ') };
        return new Problem('METHOD_NOT_ALLOWED', `Allowed: ${headers.Allow}.`, { headers });
      }
      case 413:
        return new Problem('PAYLOAD_TOO_LARGE', 'Send less at once.');
      case 415:
        return new Problem('UNSUPPORTED_MEDIA_TYPE', 'Send application/json in UTF-8.');
      default:
        return new Problem('REQUEST_REFUSED', 'The request could not be taken.');
    }
  }
}
