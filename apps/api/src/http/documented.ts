import { applyDecorators } from '@nestjs/common';
import {
  ApiBadRequestResponse,
  ApiInternalServerErrorResponse,
  ApiNotFoundResponse,
  ApiPayloadTooLargeResponse,
  ApiServiceUnavailableResponse,
  ApiUnsupportedMediaTypeResponse,
} from '@nestjs/swagger';

const content = { 'application/problem+json': { schema: { $ref: '#/components/schemas/ProblemDto' } } };

/** Documents the ways in which an endpoint can fail: any of them, one about a single object, one that reads a body. */
export function Failures({ notFound, body = false }: { notFound?: string; body?: boolean } = {}): MethodDecorator & ClassDecorator {
  return applyDecorators(
    ApiBadRequestResponse({
      description: 'Something in the request is not valid or not known: `INVALID_PARAMETER`, `INVALID_UUID`',
      content,
    }),
    ...(notFound === undefined ? [] : [ApiNotFoundResponse({ description: `\`${notFound}\``, content })]),
    ...(body
      ? [
          ApiPayloadTooLargeResponse({ description: '`PAYLOAD_TOO_LARGE`', content }),
          ApiUnsupportedMediaTypeResponse({ description: '`UNSUPPORTED_MEDIA_TYPE`', content }),
        ]
      : []),
    ApiInternalServerErrorResponse({ description: '`INTERNAL_ERROR`; the log says more under `requestId`', content }),
    ApiServiceUnavailableResponse({ description: '`DATABASE_UNAVAILABLE`; ask again after `Retry-After` seconds', content }),
  );
}
