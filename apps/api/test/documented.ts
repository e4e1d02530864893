import { Ajv, type ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';

/** Of an answer, what the document speaks about besides the body. */
export interface AnswerHead {
  status: number;
  headers: Headers;
}

export interface Parameter {
  name: string;
  in: 'path' | 'query' | 'header';
  required?: boolean;
  schema: Schema;
  example?: unknown;
}

/** The part of JSON Schema that the document uses for input. */
export interface Schema {
  $ref?: string;
  type?: string;
  format?: string;
  pattern?: string;
  enum?: unknown[];
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  maxItems?: number;
  nullable?: boolean;
  default?: unknown;
  example?: unknown;
}

export interface Operation {
  operationId: string;
  summary?: string;
  description?: string;
  tags?: string[];
  security?: object[];
  parameters?: Parameter[];
  requestBody?: { content: { 'application/json': { schema: Schema } } };
  responses: Record<
    string,
    {
      description: string;
      content?: Record<string, { schema: object }>;
      links?: Record<string, { operationId: string; parameters: Record<string, string> }>;
    }
  >;
}

interface Document {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema>; parameters: Record<string, Parameter> };
}

interface Served {
  document: Document;
  ajv: Ajv;
}

const served = new Map<string, Promise<Served>>();

/**
 * Fails unless the served OpenAPI document has this path, method, status and content type, and the body fits its schema.
 * Paths and methods that do not exist are not described.
 */
export async function expectDocumented(url: string, method: string, path: string, response: AnswerHead, body: unknown): Promise<void> {
  const { document, ajv } = await loaded(url);
  const pathname = path.split('?')[0]!;
  const template = Object.keys(document.paths).find((candidate) => matches(candidate, pathname));
  const operation = template && document.paths[template]?.[method.toLowerCase()];
  if (!operation) return;
  const documented = operation.responses[response.status];
  if (!documented) throw new Error(`${method} ${template} answered ${response.status}, which is not described: ${JSON.stringify(body)}`);
  if (response.status === 204 || response.status === 304) return;
  const type = (response.headers.get('content-type') ?? '').split(';')[0]!;
  if (!documented.content?.[type]) throw new Error(`${method} ${template} ${response.status} came as ${type}, which is not described`);
  if (!/json/.test(type)) return;
  const pointer = [template, method.toLowerCase(), 'responses', String(response.status), 'content', type, 'schema'].map(escapePointer);
  const validate = ajv.getSchema(`openapi#/paths/${pointer.join('/')}`) as ValidateFunction;
  if (!validate(body)) throw new Error(`${method} ${path} ${response.status}: ${ajv.errorsText(validate.errors)}\n${JSON.stringify(body)}`);
}

/** The operations of the served document; of their parameters and bodies no references are left. */
export async function operationsOf(url: string): Promise<{ method: string; path: string; operation: Operation }[]> {
  const { document } = await loaded(url);
  const { schemas, parameters } = document.components;
  const resolved = (schema: Schema): Schema => (schema.$ref === undefined ? schema : schemas[schema.$ref.split('/').at(-1)!]!);
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      operation: {
        ...operation,
        parameters: (operation.parameters ?? []).map((parameter) => {
          const { $ref } = parameter as { $ref?: string };
          return $ref === undefined ? parameter : parameters[$ref.split('/').at(-1)!]!;
        }),
        ...(operation.requestBody && {
          requestBody: { content: { 'application/json': { schema: resolved(operation.requestBody.content['application/json'].schema) } } },
        }),
      },
    })),
  );
}

function loaded(url: string): Promise<Served> {
  let promise = served.get(url);
  if (!promise) served.set(url, (promise = load(url)));
  return promise;
}

async function load(url: string): Promise<Served> {
  const document = (await (await fetch(`${url}/api/openapi.json`)).json()) as Document;
  const ajv = new Ajv({ strict: false, allErrors: true });
  addFormats.default(ajv);
  ajv.addSchema(closed(document) as object, 'openapi');
  return { document, ajv };
}

/** Objects with listed properties take no others: an answer must not say more than is described. (The document has no allOf.) */
function closed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closed);
  if (typeof value !== 'object' || value === null) return value;
  const copy = Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, closed(inner)]));
  return 'properties' in copy && copy['type'] === 'object' ? { ...copy, additionalProperties: false } : copy;
}

function matches(template: string, pathname: string): boolean {
  return new RegExp(`^${template.replace(/\{[^}]+\}/g, '[^/]+')}$`).test(pathname);
}

function escapePointer(part: string): string {
  return encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'));
}
