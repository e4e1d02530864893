import { Injectable } from '@nestjs/common';
import type { OpenAPIObject } from '@nestjs/swagger';
import { Metrics } from '@tallystick/observability';
import type { NextFunction, Request, Response } from 'express';
import { METHODS } from '../openapi-conventions.js';

/** Where no route was reached: addresses and methods that nothing takes, the files of Swagger UI. */
const UNKNOWN = 'unknown';
const KNOWN_METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
/** Upper bounds in seconds; a statement is given up after 10. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Requests by method and route. A route is its template: a path as asked for would make a series for each id, or for each guess. */
@Injectable()
export class HttpMetrics {
  private readonly requests;
  private readonly durations;

  constructor(metrics: Metrics) {
    this.requests = metrics.counter({
      name: 'http_requests_total',
      help: 'HTTP requests by route (its template; "unknown": none was reached) and status ("aborted": the client went before the answer).',
      labels: { method: [], route: [], status: [] },
    });
    this.durations = metrics.histogram({
      name: 'http_request_duration_seconds',
      help: 'From the request to the last byte of its answer; of streams and exports to their end.',
      labels: { method: [], route: [] },
      buckets: BUCKETS,
    });
  }

  /** Makes the series of all that the document describes, so that `rate()` sees the first of each. */
  beginAt0(document: OpenAPIObject): void {
    for (const [route, item] of Object.entries(document.paths)) {
      for (const name of METHODS) {
        const method = name.toUpperCase();
        for (const status of Object.keys(item[name]?.responses ?? {})) this.requests.inc({ method, route, status }, 0);
        if (item[name]) this.durations.zero({ method, route });
      }
    }
    this.requests.inc({ method: 'GET', route: UNKNOWN, status: '404' }, 0);
    this.durations.zero({ method: 'GET', route: UNKNOWN });
  }

  /** Before everything else: what the rest refuses is counted too. */
  readonly count = (request: Request, response: Response, next: NextFunction): void => {
    const startMs = performance.now();
    response.once('close', () => {
      const method = KNOWN_METHODS.includes(request.method) ? request.method : 'other';
      const route = routeOf(request);
      this.requests.inc({ method, route, status: response.headersSent ? String(response.statusCode) : 'aborted' });
      this.durations.observe({ method, route }, (performance.now() - startMs) / 1_000);
    });
    next();
  };
}

/** As the document spells it: Express' `:name` is `{name}`. Express sets the route when it has found one. */
function routeOf(request: Request): string {
  const { path } = (request.route ?? {}) as { path?: unknown };
  return typeof path === 'string' ? path.replace(/:(\w+)/g, '{$1}') : UNKNOWN;
}
