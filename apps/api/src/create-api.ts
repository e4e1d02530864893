import type { NestApplicationOptions } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { ExpressServer } from '@tallystick/observability';
import type { NextFunction, Request, Response } from 'express';
import type { ApiConfig } from './api.config.js';
import { ApiModule } from './api.module.js';
import { answerOptions } from './http/allowed-methods.js';
import { HttpMetrics } from './http/http-metrics.js';
import { knownHost } from './http/known-host.js';
import { readableQuery } from './http/readable-query.js';
import { requestId } from './http/request-id.js';
import { RequestsUnderWay } from './http/requests-under-way.js';
import { answerUnreadableRequests } from './http/unreadable-requests.js';
import { DOCS_PATH, openApi, serveOpenApi } from './openapi.js';

const MAX_BODY_BYTES = 64 * 1024;

/** JSON needs nothing from anywhere; Swagger UI styles itself inline and has its pictures in data URLs. */
const DOCS_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/** The API as it is served; `main.ts` runs it. */
export async function createApi(config: ApiConfig, options: NestApplicationOptions): Promise<NestExpressApplication> {
  const app = await NestFactory.create<NestExpressApplication>(ApiModule.forRoot(config), new ExpressServer(), {
    ...options,
    bodyParser: false,
  });
  app.useSecurityHeaders({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { defaultSrc: "'none'", frameAncestors: "'none'", baseUri: "'none'", formAction: "'none'" },
    },
    referrerPolicy: { policy: 'no-referrer' },
    // Only whoever ends TLS in front of us can promise it.
    strictTransportSecurity: false,
  });
  // What may be kept gets its ETag where it is written (answer.interceptor.ts).
  app.set('etag', false);
  // Flat parameters only: `a[b]=c` is the parameter `a[b]`, which nothing knows.
  app.set('query parser', 'simple');
  app.set('trust proxy', config.trustedProxies.length > 0 ? [...config.trustedProxies] : false);
  const httpMetrics = app.get(HttpMetrics);
  app.use(httpMetrics.count);
  app.use(app.get(RequestsUnderWay).note);
  app.use(requestId);
  app.use(readableQuery);
  app.use(knownHost(config.http.host, config.allowedHosts));
  app.use((_request: Request, response: Response, next: NextFunction) => {
    response.set('Cache-Control', 'no-store');
    next();
  });
  app.use(answerOptions(app.getHttpAdapter().getInstance()));
  app.use(DOCS_PATH, (_request: Request, response: Response, next: NextFunction) => {
    response.set('Content-Security-Policy', DOCS_POLICY);
    next();
  });
  app.useBodyParser('json', { limit: MAX_BODY_BYTES });
  const document = openApi(app);
  httpMetrics.beginAt0(document);
  serveOpenApi(app, document);
  answerUnreadableRequests(app.getHttpServer());
  return app;
}
