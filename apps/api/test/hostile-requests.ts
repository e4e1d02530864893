import fc from 'fast-check';
import type { Operation, Parameter, Schema } from './documented.js';

/** A request as it goes over the wire: the path encoded as it is to be sent. */
export interface FuzzRequest {
  method: string;
  path: string;
  headers: Record<string, string>;
  body?: string;
}

/** What there is to ask for, by the name of the parameter, and what the API takes as a key. */
export interface Known {
  key: string;
  values: Record<string, readonly string[]>;
  /** Cursors that lists gave out, by operation; grows while requests are made. */
  cursors: Map<string, string[]>;
}

const LONG = 10_000;
const HOSTILE_TEXTS = [
  '',
  ' ',
  '\0',
  'a\0b',
  '\ud800',
  'x\udc00y',
  "' OR '1'='1",
  "'; DROP TABLE messages; --",
  '"',
  '\\',
  '$1',
  '${7*7}',
  '{"$gt":""}',
  '{"a":"\\u0000"}',
  '{"a":1e400}',
  '["\\ud800"]',
  '{"__proto__":{"a":1}}',
  '../../etc/passwd',
  '..',
  '%2e%2e%2f',
  '<script>alert(1)</script>',
  '\r\nSet-Cookie: a=b',
  '\u202e\u0000😀',
  '%',
  '_',
  '*',
  '#',
  '+/+/#',
  '$share/g/#',
  'x'.repeat(LONG),
  '/'.repeat(LONG),
  '['.repeat(2_000),
  '9'.repeat(400),
  '-1',
  '0',
  '-0',
  '1.5',
  '1e3',
  '1e400',
  'NaN',
  'Infinity',
  '2147483648',
  '9007199254740993',
  '9223372036854775808',
  '0x10',
  'null',
  'undefined',
  'true',
  'TRUE',
  '[]',
  '{}',
  '__proto__',
  'constructor',
  '1970-01-01T00:00:00Z',
  '9999-12-31T23:59:59.999999999Z',
  '9999-12-31T23:59:59-23:59',
  '+275760-09-13T00:00:00Z',
  '2026-02-30T00:00:00Z',
  '2026-11-21T08:00:00',
  '00000000-0000-0000-0000-000000000000',
  'ffffffff-ffff-ffff-ffff-ffffffffffff',
];
/** Encodings that no text has: broken, too long, of half a surrogate pair, of no UTF-8. */
const HOSTILE_RAW = ['%ZZ', '%', '%F', '%FF', '%C0%80', '%ED%A0%80', '%E0%80%AF', 'a%00b', '%25ZZ', '%u0041', '\u00ff'];
const HOSTILE_KEYS = [
  '',
  'Bearer',
  'Bearer ',
  'Basic YTpi',
  'Bearer x',
  'Bearer null',
  `Bearer ${'x'.repeat(LONG)}`,
  'Bearer a b',
  '\u00e9',
  'bearer',
];

/** Any text: one that has made trouble somewhere, or any other, with lone surrogates and control characters. */
const hostileText = fc.oneof(fc.constantFrom(...HOSTILE_TEXTS), fc.string({ unit: 'binary', maxLength: 40 }), fc.string({ maxLength: 40 }));

/** As UTF-8 in percent-encoding; also what has no UTF-8. */
function percentEncoded(text: string): string {
  return [...text]
    .map((character) => {
      if (character.isWellFormed()) return encodeURIComponent(character);
      const unit = character.charCodeAt(0);
      return [0xe0 | (unit >> 12), 0x80 | ((unit >> 6) & 63), 0x80 | (unit & 63)].map((byte) => `%${byte.toString(16)}`).join('');
    })
    .join('');
}

/** Values that the schema takes, for what the data has no value of. */
function validOf(schema: Schema, known: readonly string[] = []): fc.Arbitrary<string> {
  const own = [schema.example, schema.default, ...(schema.enum ?? [])].flat().filter((value) => value !== undefined && value !== null);
  const values = [...own.map(String), ...known];
  const { type, format, minimum = 0, maximum = 1_000 } = schema;
  const made: fc.Arbitrary<string>[] = values.length > 0 ? [fc.constantFrom(...values)] : [];
  if (type === 'integer' || type === 'number') made.push(fc.integer({ min: minimum, max: maximum }).map(String));
  else if (type === 'boolean') made.push(fc.constantFrom('true', 'false'));
  else if (format === 'date-time') {
    const lately = { min: new Date(Date.now() - 400 * 86_400_000), max: new Date(Date.now() + 86_400_000), noInvalidDate: true };
    made.push(fc.date(lately).map((date) => date.toISOString()));
  } else if (format === 'uuid') made.push(fc.uuid());
  else if (made.length === 0) made.push(fc.string({ minLength: 1, maxLength: 20 }));
  return fc.oneof(...made);
}

/** The last that is taken and the first that is not. */
function boundaryOf({ minimum, maximum, minLength, maxLength }: Schema): fc.Arbitrary<string> {
  const numbers = [minimum, maximum].flatMap((bound) => (bound === undefined ? [] : [bound - 1, bound, bound + 1].map(String)));
  const lengths = [minLength, maxLength].flatMap((bound) => (bound === undefined ? [] : [bound - 1, bound, bound + 1]));
  const texts = lengths.filter((length) => length >= 0).map((length) => 'x'.repeat(length));
  return fc.constantFrom('', ...numbers, ...texts);
}

function encodedValue(schema: Schema, known?: readonly string[]): fc.Arbitrary<string> {
  return fc.oneof(
    { weight: 12, arbitrary: validOf(schema.items ?? schema, known).map(percentEncoded) },
    { weight: 2, arbitrary: boundaryOf(schema).map(percentEncoded) },
    { weight: 2, arbitrary: hostileText.map(percentEncoded) },
    { weight: 1, arbitrary: fc.constantFrom(...HOSTILE_RAW) },
  );
}

/** The pairs of one parameter: mostly one or none, sometimes several, sometimes as other frameworks spell lists and objects. */
function queryPairs({ name, schema, required = false }: Parameter, known?: readonly string[]): fc.Arbitrary<readonly string[]> {
  const value = encodedValue(schema, known);
  const one = value.map((text) => [`${name}=${text}`]);
  return fc.oneof(
    { weight: required ? 1 : 18, arbitrary: fc.constant<string[]>([]) },
    { weight: 16, arbitrary: one },
    { weight: 1, arbitrary: fc.array(value, { minLength: 2, maxLength: 25 }).map((values) => values.map((text) => `${name}=${text}`)) },
    {
      weight: 1,
      arbitrary: value.chain((text) => fc.constantFrom([`${name}[]=${text}`], [`${name}[a]=${text}`], [name], [`${name}.a=${text}`])),
    },
  );
}

const unknownPairs = fc.oneof(
  { weight: 20, arbitrary: fc.constant([]) },
  { weight: 1, arbitrary: fc.tuple(hostileText, hostileText).map(([name, value]) => [`${percentEncoded(name)}=${percentEncoded(value)}`]) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ['verbose=1'],
      ['=', '&&'],
      ['?'],
      [`a=${'x'.repeat(20_000)}`],
      ['a=1', 'a=2'],
      Array.from({ length: 1_100 }, (_, at) => `p${at}=1`),
    ),
  },
);

/** A cursor: one that was given out, one of them with other places in it, or anything. Which ones there are is known when it is asked. */
function cursorPairs(operationId: string, known: Known): fc.Arbitrary<() => string[]> {
  const given = (at: number) => known.cursors.get(operationId)?.at(-1 - at);
  const pairs = (text: string | undefined) => (text === undefined ? [] : [`cursor=${text}`]);
  return fc.oneof(
    { weight: 8, arbitrary: fc.constant(() => []) },
    { weight: 3, arbitrary: fc.nat(5).map((at) => () => pairs(given(at))) },
    {
      weight: 2,
      arbitrary: fc.tuple(fc.nat(5), fc.nat(5), hostileText).map(
        ([at, place, text]) =>
          () =>
            pairs(altered(given(at), place, text)),
      ),
    },
    { weight: 1, arbitrary: hostileText.map((text) => () => pairs(percentEncoded(text))) },
  );
}

/** The same cursor with another text in place of one of its parts. */
function altered(cursor: string | undefined, place: number, text: string): string | undefined {
  if (cursor === undefined) return undefined;
  const parts = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[];
  parts[place % parts.length] = text;
  return Buffer.from(JSON.stringify(parts)).toString('base64url').slice(0, 8_000);
}

/** JSON of a value that no field is meant for. */
const hostileJson = fc.oneof(
  hostileText.map((text) => JSON.stringify(text)),
  fc.constantFrom(
    'null',
    'true',
    '0',
    '-1',
    '1e400',
    '9'.repeat(400),
    '[]',
    '{}',
    '[null]',
    '[["a"]]',
    '{"a":{"b":[]}}',
    '"\\ud800"',
    '"\\u0000"',
  ),
  fc.jsonValue().map((value) => JSON.stringify(value)),
);

function validJson(schema: Schema, known?: readonly string[]): fc.Arbitrary<string> {
  if (schema.type === 'array') {
    const words = (schema.items?.enum ?? []) as string[];
    return fc.subarray(words, { minLength: 1 }).map((values) => JSON.stringify(values));
  }
  const value = validOf(schema, known).map((text) => JSON.stringify(text));
  return schema.nullable ? fc.oneof(value, fc.constant('null')) : value;
}

/** A body, as text: fields of all kinds, fields twice or of no name that is known, and what is no object or no JSON at all. */
function bodyOf(schema: Schema | undefined, known: Known): fc.Arbitrary<string | undefined> {
  if (!schema) {
    return fc.oneof(
      { weight: 8, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: fc.constantFrom('{}', '{"a":1}', '[]', '{', '"x"', '') },
    );
  }
  const fields = Object.entries(schema.properties ?? {}).map(([name, field]) => {
    const value = fc.oneof(
      { weight: 8, arbitrary: validJson(field, known.values[name]) },
      { weight: 1, arbitrary: boundaryOf(field).map((text) => JSON.stringify(text)) },
      { weight: 2, arbitrary: hostileJson },
    );
    const isRequired = schema.required?.includes(name) ?? false;
    const member = value.map((text) => [`"${name}":${text}`]);
    const twice = fc.tuple(member, member).map((members) => members.flat());
    return fc.oneof(
      { weight: isRequired ? 1 : 8, arbitrary: fc.constant([]) },
      { weight: 16, arbitrary: member },
      { weight: 1, arbitrary: twice },
    );
  });
  const further = fc.oneof(
    { weight: 10, arbitrary: fc.constant<string[]>([]) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        ['"keyId":"mine"'],
        ['"__proto__":{"a":1}'],
        ['"constructor":null'],
        ['"createdAt":"2020-01-01T00:00:00Z"'],
      ),
    },
  );
  return fc.oneof(
    { weight: 12, arbitrary: fc.tuple(...fields, further).map((members) => `{${members.flat().join()}}`) },
    { weight: 2, arbitrary: hostileJson },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        '',
        '{',
        '{"a":',
        '\ufeff{}',
        `${'['.repeat(30_000)}`,
        JSON.stringify('x'.repeat(70_000)),
        '{"a":1}{"b":2}',
      ),
    },
  );
}

/** What a header can hold at all; Node sends nothing else. */
const headerText = hostileText.filter((text) => /^[\t\x20-\x7e\x80-\xff]*$/.test(text));

function optionalHeader(name: string, value: fc.Arbitrary<string>, oneIn: number): fc.Arbitrary<Record<string, string>> {
  return fc.oneof({ weight: oneIn - 1, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: value.map((text) => ({ [name]: text })) });
}

function headersOf({ parameters = [] }: Operation, hasBody: boolean, known: Known): fc.Arbitrary<Record<string, string>> {
  const right = fc.constant({ Authorization: `Bearer ${known.key}` });
  const wrong = fc.oneof(
    fc
      .constantFrom(...HOSTILE_KEYS, `Bearer ${known.key}x`, `Bearer ${known.key.slice(0, -1)}`, `Bearer ${known.key} `)
      .map((Authorization) => ({ Authorization })),
    headerText.map((Authorization) => ({ Authorization })),
    fc
      .constantFrom('tallystick_session=', `tallystick_session=${'A'.repeat(43)}`, `tallystick_session=${known.key}; tallystick_session=x`)
      .map((Cookie) => ({ Cookie })),
    fc.constant({}),
  );
  const described = parameters.filter((parameter) => parameter.in === 'header');
  const own = described.map((parameter) => {
    const value = fc.oneof(
      validOf({ ...parameter.schema, example: parameter.example }, known.values[parameter.name]),
      headerText,
      fc.constantFrom('*', 'W/"x"', ',,,', ''),
    );
    return optionalHeader(parameter.name, value, 4);
  });
  const contentType = fc.oneof(
    { weight: 16, arbitrary: fc.constant('application/json') },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        'text/plain',
        'application/x-www-form-urlencoded',
        'application/json; charset=latin1',
        'multipart/form-data',
        '',
        'x',
        'application/json; charset=x',
      ),
    },
  );
  return fc
    .tuple(
      fc.oneof({ weight: 9, arbitrary: right }, { weight: 1, arbitrary: wrong }),
      optionalHeader('Origin', fc.constantFrom('https://evil.example', 'null', ''), 10),
      // Wrong keys are counted by address: each request comes from another.
      fc.oneof({ weight: 30, arbitrary: fc.ipV4() }, { weight: 1, arbitrary: headerText }).map((text) => ({ 'X-Forwarded-For': text })),
      optionalHeader('X-Forwarded-Proto', fc.constantFrom('https', 'http', 'x', ''), 20),
      hasBody ? contentType.map((text): Record<string, string> => ({ 'Content-Type': text })) : fc.constant({}),
      ...own,
    )
    .map((parts) => Object.assign({}, ...parts) as Record<string, string>);
}

/** Requests of one operation, most with a few parameters wrong at most, so that the ones behind them are looked at too. */
export function requestsOf(method: string, path: string, operation: Operation, known: Known): fc.Arbitrary<() => FuzzRequest> {
  const { operationId, parameters = [], requestBody } = operation;
  const inPath = parameters.filter((parameter) => parameter.in === 'path');
  const inQuery = parameters.filter((parameter) => parameter.in === 'query' && parameter.name !== 'cursor');
  // An empty part of a path is another path.
  const segments = inPath.map(({ name, schema, example }) =>
    encodedValue({ ...schema, example: known.values[name]?.[0] ?? example }, known.values[name]).map((text) => text || '%20'),
  );
  const hasCursor = parameters.some(({ name }) => name === 'cursor');
  const body = bodyOf(requestBody?.content['application/json'].schema, known);
  return fc
    .tuple(
      fc.tuple(...segments),
      fc.tuple(...inQuery.map((parameter) => queryPairs(parameter, known.values[parameter.name])), unknownPairs),
      hasCursor ? cursorPairs(operationId, known) : fc.constant(() => []),
      body.chain((text) => headersOf(operation, text !== undefined, known).map((headers) => ({ text, headers }))),
    )
    .map(([filled, pairs, cursor, { text, headers }]) => {
      const pathname = inPath.reduce((done, { name }, at) => done.replace(`{${name}}`, () => filled[at]!), path);
      return () => {
        const query = [...pairs.flat(), ...cursor()].join('&');
        return { method, path: query === '' ? pathname : `${pathname}?${query}`, headers, ...(text !== undefined && { body: text }) };
      };
    });
}
