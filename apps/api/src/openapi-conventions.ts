import type { OpenAPIObject } from '@nestjs/swagger';
import { problemContent } from './http/documented.js';

type PathItem = OpenAPIObject['paths'][string];
type Operation = NonNullable<PathItem['get']>;
type Response = Exclude<NonNullable<Operation['responses'][string]>, { $ref: string }>;

export const METHODS = ['get', 'put', 'post', 'delete', 'patch'] as const;

const HEADERS = {
  XRequestId: { description: 'Id of the request, as in the log.', schema: { type: 'string', pattern: '^[A-Za-z0-9_-]{1,64}$' } },
  RetryAfter: { description: 'Seconds after which to ask again; missing where asking again is of no use.', schema: { type: 'integer' } },
  ETag: { description: 'A strong validator of the body, for `If-None-Match`.', schema: { type: 'string' } },
  Link: { description: 'The next page, `rel="next"`; missing on the last one.', schema: { type: 'string' } },
  WWWAuthenticate: { description: 'How to say who asks.', schema: { type: 'string' } },
} as const;

const PARAMETERS = {
  XRequestId: {
    name: 'X-Request-Id',
    in: 'header',
    required: false,
    description: 'An id of the client’s own. One of another form is replaced, not refused.',
    schema: { type: 'string' },
    example: 'trace-42_A',
  },
  IfNoneMatch: {
    name: 'If-None-Match',
    in: 'header',
    required: false,
    description: 'ETags of what the client has already.',
    schema: { type: 'string' },
    example: '"b4c5d6e7f8a9b0c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5"',
  },
} as const;

/** What is refused before anybody looks at the route. */
const REFUSED_EARLY = {
  408: '`REQUEST_TIMEOUT`: it did not come in time',
  413: '`PAYLOAD_TOO_LARGE`: of a body, although none is known here',
  415: '`UNSUPPORTED_MEDIA_TYPE`: of a body, although none is known here',
  421: '`UNKNOWN_HOST`: the API does not go by the name in `Host`',
  431: '`HEADERS_TOO_LARGE`: address and headers have more than 16 KiB together',
};

/** Adds to every operation what holds for all of its kind, so that no controller has to say it. Changes and returns the document. */
export function addConventions(document: OpenAPIObject): OpenAPIObject {
  document.components = { ...document.components, headers: HEADERS, parameters: PARAMETERS };
  for (const [path, item] of Object.entries(document.paths)) {
    for (const method of METHODS) {
      const operation = item[method];
      if (operation) addToOperation(operation, method, path);
    }
    linkFromList(document.paths, path, item);
  }
  return document;
}

function addToOperation(operation: Operation, method: string, path: string): void {
  // Said outright: anybody may ask.
  operation.security ??= [];
  (operation.parameters ??= []).push(parameter('XRequestId'));
  const responses = operation.responses as Record<string, Response>;
  const answer = responses['200'];
  // Single objects and their bytes; of what may not be kept nobody asks whether it has changed.
  if (method === 'get' && (path.endsWith('}') || answer?.content?.['application/octet-stream'])) {
    operation.parameters.push(parameter('IfNoneMatch'));
    responses['304'] = { description: 'What `If-None-Match` names is still what there is.' };
  }
  for (const [status, description] of Object.entries(REFUSED_EARLY)) responses[status] ??= { description, content: problemContent };
  for (const [status, response] of Object.entries(responses)) {
    const names: (keyof typeof HEADERS)[] = ['XRequestId'];
    if (responses['304'] && (status === '200' || status === '304')) names.push('ETag');
    if (status === '200' && operation.parameters.some((known) => 'name' in known && known.name === 'cursor')) names.push('Link');
    if (status === '401') names.push('WWWAuthenticate');
    if (status === '429' || status === '503') names.push('RetryAfter');
    response.headers = { ...response.headers, ...Object.fromEntries(names.map(header)) };
  }
}

/** The list `/things` tells the `thingId` of everything under `/things/{thingId}`: its items have a field of that name. */
function linkFromList(paths: Record<string, PathItem>, path: string, item: PathItem): void {
  const [, listPath, name] = /^([^{]+)\/\{(\w+)\}[^{]*$/.exec(path) ?? [];
  const page = listPath === undefined ? undefined : (paths[listPath]?.get?.responses['200'] as Response | undefined);
  if (!page || name === undefined) return;
  for (const method of METHODS) {
    const operationId = item[method]?.operationId;
    if (operationId === undefined) continue;
    page.links = { ...page.links, [operationId]: { operationId, parameters: { [name]: `$response.body#/items/0/${name}` } } };
  }
}

function parameter(name: keyof typeof PARAMETERS) {
  return { $ref: `#/components/parameters/${name}` };
}

const HEADER_NAMES = {
  XRequestId: 'X-Request-Id',
  RetryAfter: 'Retry-After',
  ETag: 'ETag',
  Link: 'Link',
  WWWAuthenticate: 'WWW-Authenticate',
};

function header(name: keyof typeof HEADERS) {
  return [HEADER_NAMES[name], { $ref: `#/components/headers/${name}` }] as const;
}
