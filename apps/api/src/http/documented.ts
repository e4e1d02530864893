import { applyDecorators, type Type } from '@nestjs/common';
import {
  ApiBadRequestResponse,
  ApiInternalServerErrorResponse,
  ApiNotFoundResponse,
  ApiPayloadTooLargeResponse,
  ApiProperty,
  ApiServiceUnavailableResponse,
  ApiUnsupportedMediaTypeResponse,
  getSchemaPath,
} from '@nestjs/swagger';

/** The body of every failure, for a response's documentation. */
export const problemContent = { 'application/problem+json': { schema: { $ref: '#/components/schemas/ProblemDto' } } };

/** Documents the ways in which an endpoint can fail: any of them, one about a single object, one that reads a body. */
export function Failures({ notFound, body = false }: { notFound?: string | string[]; body?: boolean } = {}): MethodDecorator &
  ClassDecorator {
  const missing = [notFound ?? []]
    .flat()
    .map((code) => `\`${code}\``)
    .join(', ');
  return applyDecorators(
    ApiBadRequestResponse({
      description:
        'Something in the request is not valid or not known: `INVALID_PARAMETER`, `INVALID_UUID`, `INVALID_URL`, `INVALID_JSON`, `REQUEST_REFUSED`',
      content: problemContent,
    }),
    ...(missing === '' ? [] : [ApiNotFoundResponse({ description: missing, content: problemContent })]),
    ...(body
      ? [
          ApiPayloadTooLargeResponse({ description: '`PAYLOAD_TOO_LARGE`', content: problemContent }),
          ApiUnsupportedMediaTypeResponse({ description: '`UNSUPPORTED_MEDIA_TYPE`', content: problemContent }),
        ]
      : []),
    ApiInternalServerErrorResponse({ description: '`INTERNAL_ERROR`; the log says more under `requestId`', content: problemContent }),
    ApiServiceUnavailableResponse({
      description: '`DATABASE_UNAVAILABLE`; ask again after `Retry-After` seconds. `QUERY_GIVEN_UP`; ask for less',
      content: problemContent,
    }),
  );
}

/** The type of a property that `@OrNull` documents. Under this name: of a plain `T | null` the Swagger plugin makes what is not valid. */
export type OrNull<T> = T | null;

/** Documents an object that may be null: in OpenAPI 3.0 `nullable` has no effect beside a reference, only beside `type`. */
export function OrNull(model: Type): PropertyDecorator {
  return ApiProperty({ oneOf: [{ $ref: getSchemaPath(model) }, { type: 'object', nullable: true, enum: [null] }] });
}
