import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { SESSION_COOKIE } from './auth/session-cookie.js';
import { ProblemDto } from './http/problem.dto.js';
import { addConventions } from './openapi-conventions.js';

const DOCUMENT_PATH = '/api/openapi.json';
export const DOCS_PATH = '/api/docs';

const TAGS = {
  session: 'Signing in with a browser.',
  keys: 'Who may ask this API for what.',
  batches: 'Messages of one tenant under one Merkle root.',
  messages: 'Telemetry as it was received, byte for byte.',
  devices: 'What sends.',
  rejections: 'The quarantine: messages that broke a rule of intake.',
  brokers: 'What brokers have said about themselves, as their watchers recorded it.',
  alerts: 'What an operator must know of now.',
  export: 'Rows as files of any size.',
  stream: 'Messages as they are stored.',
};

/** The OpenAPI document of the app. 3.0: its schemas say `nullable`, which JSON Schema 2020-12 and so OpenAPI 3.1 do not have. */
export function openApi(app: INestApplication): OpenAPIObject {
  const description = [
    'The system of record for MQTT: every message stored once, hashed, sealed in batches and provable.',
    'Times are RFC 3339 UTC with milliseconds; times in queries need an offset; ranges are half-open: `from` <= t < `to`.',
    '64-bit integers are strings. Lists give `nextCursor`, also as a `Link` header; a cursor fits only the filter it came from.',
    'Every request needs a key: press "Authorize", or send `Authorization: Bearer tly_…`. `tallystick keys create` makes one.',
    'Errors are `application/problem+json` (RFC 9457); `code` is stable.',
    'Examples succeed with what `npm run dev` simulates. Ids that are only known then are linked from the lists (`links`).',
  ].join('\n\n');
  const head = new DocumentBuilder()
    .setOpenAPIVersion('3.0.3')
    .setTitle('Tallystick')
    .setVersion('1')
    .setDescription(description)
    .setLicense('Apache-2.0', 'https://www.apache.org/licenses/LICENSE-2.0')
    .addServer('/')
    .addBearerAuth({ type: 'http', scheme: 'bearer', description: 'An API key, `tly_…`.' })
    .addCookieAuth(SESSION_COOKIE, undefined, SESSION_COOKIE);
  for (const [name, text] of Object.entries(TAGS)) head.addTag(name, text);
  const document = SwaggerModule.createDocument(app, head.build(), {
    extraModels: [ProblemDto],
    operationIdFactory: (controller, method) => `${controller.replace(/Controller$/, '').toLowerCase()}_${method}`,
  });
  return addConventions(document);
}

/** Serves the document and Swagger UI, all from this process: nothing is fetched from elsewhere, nor told to it. */
export function serveOpenApi(app: NestExpressApplication, document: OpenAPIObject): void {
  SwaggerModule.setup(DOCS_PATH, app, document, {
    jsonDocumentUrl: DOCUMENT_PATH,
    raw: ['json'],
    customSiteTitle: 'Tallystick API',
    swaggerOptions: { validatorUrl: null, persistAuthorization: false },
  });
}
