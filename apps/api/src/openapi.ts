import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { SESSION_COOKIE } from './auth/session-cookie.js';
import { ProblemDto } from './http/problem.dto.js';

const DOCUMENT_PATH = '/api/openapi.json';
export const DOCS_PATH = '/api/docs';

/** The OpenAPI document of the app. 3.0: its schemas say `nullable`, which JSON Schema 2020-12 and so OpenAPI 3.1 do not have. */
export function openApi(app: INestApplication): OpenAPIObject {
  const description = [
    'The system of record for MQTT: every message stored once, hashed, sealed in batches and provable.',
    'Times are RFC 3339 UTC with milliseconds; times in queries need an offset; ranges are half-open: `from` <= t < `to`.',
    '64-bit integers are strings. Lists give `nextCursor`, also as a `Link` header; a cursor fits only the filter it came from.',
    'Every request needs a key: press "Authorize", or send `Authorization: Bearer tly_…`. `tallystick keys create` makes one.',
    'Errors are `application/problem+json` (RFC 9457); `code` is stable.',
  ].join('\n\n');
  const head = new DocumentBuilder()
    .setOpenAPIVersion('3.0.3')
    .setTitle('Tallystick')
    .setVersion('1')
    .setDescription(description)
    .addBearerAuth({ type: 'http', scheme: 'bearer', description: 'An API key, `tly_…`.' })
    .addCookieAuth(SESSION_COOKIE, undefined, SESSION_COOKIE)
    .build();
  return SwaggerModule.createDocument(app, head, {
    extraModels: [ProblemDto],
    operationIdFactory: (controller, method) => `${controller.replace(/Controller$/, '').toLowerCase()}_${method}`,
  });
}

/** Serves the document and Swagger UI, all from this process: nothing is fetched from elsewhere, nor told to it. */
export function serveOpenApi(app: NestExpressApplication): void {
  SwaggerModule.setup(DOCS_PATH, app, () => openApi(app), {
    jsonDocumentUrl: DOCUMENT_PATH,
    raw: ['json'],
    customSiteTitle: 'Tallystick API',
    swaggerOptions: { validatorUrl: null, persistAuthorization: false },
  });
}
