/** Every way in which a request can fail. The code is the contract; texts may change. */
export const PROBLEMS = {
  INVALID_PARAMETER: { status: 400, title: 'A parameter is not valid' },
  INVALID_UUID: { status: 400, title: 'An identifier is not a UUID' },
  INVALID_JSON: { status: 400, title: 'The body is not JSON' },
  INVALID_URL: { status: 400, title: 'The URL is not valid' },
  UNAUTHENTICATED: { status: 401, title: 'A key is needed' },
  FORBIDDEN: { status: 403, title: 'The key does not allow this' },
  KEY_NOT_FOUND: { status: 404, title: 'There is no such key' },
  TOO_MANY_REQUESTS: { status: 429, title: 'Too much was asked at once' },
  BATCH_NOT_FOUND: { status: 404, title: 'There is no such batch' },
  MESSAGE_NOT_FOUND: { status: 404, title: 'There is no such message' },
  DEVICE_NOT_FOUND: { status: 404, title: 'There is no such device' },
  REJECTION_NOT_FOUND: { status: 404, title: 'There is no such rejection' },
  REJECTION_NOT_NEW: { status: 409, title: 'The rejection was decided about before' },
  REJECTION_TRUNCATED: { status: 409, title: 'Only the beginning of the payload was kept' },
  BROKER_NOT_FOUND: { status: 404, title: 'There is no such broker' },
  CLIENT_NOT_FOUND: { status: 404, title: 'There is no such client' },
  ROUTE_NOT_FOUND: { status: 404, title: 'There is nothing at this address' },
  REPLAY_TOO_OLD: { status: 410, title: 'What came since is not replayed any more' },
  METHOD_NOT_ALLOWED: { status: 405, title: 'This address does not take this method' },
  UNKNOWN_HOST: { status: 421, title: 'This API does not go by that name' },
  PAYLOAD_TOO_LARGE: { status: 413, title: 'The body is too large' },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, title: 'The body has a type that is not taken' },
  HEADERS_TOO_LARGE: { status: 431, title: 'Address and headers are too large' },
  REQUEST_TIMEOUT: { status: 408, title: 'The request did not come in time' },
  REQUEST_REFUSED: { status: 400, title: 'The request is not taken' },
  INTERNAL_ERROR: { status: 500, title: 'Something went wrong here' },
  DATABASE_UNAVAILABLE: { status: 503, title: 'The database cannot be reached' },
  QUERY_GIVEN_UP: { status: 503, title: 'The answer would take too long' },
} as const;

/** Detail of INVALID_URL. */
export const BROKEN_ENCODING = 'A percent-encoding in it is broken, or is not UTF-8.';

export type ProblemCode = keyof typeof PROBLEMS;

/** One thing wrong with one parameter or body field. */
export interface ProblemError {
  /** Name of the parameter; empty when the name itself is not fit to be repeated. */
  parameter: string;
  detail: string;
}

/** An answer other than the one asked for; the filter turns it into application/problem+json. */
export class Problem extends Error {
  readonly status: number;

  constructor(
    readonly code: ProblemCode,
    readonly detail: string,
    readonly options: { errors?: ProblemError[]; headers?: Record<string, string>; cause?: unknown } = {},
  ) {
    super(`${code}: ${detail}`, { cause: options.cause });
    this.name = 'Problem';
    this.status = PROBLEMS[code].status;
  }
}

/** One parameter is wrong: the short form for checks beyond what a query class declares. */
export function invalidParameter(parameter: string, detail: string): Problem {
  return new Problem('INVALID_PARAMETER', `${parameter} ${detail}`, { errors: [{ parameter, detail }] });
}

/** The body of a problem (RFC 9457 section 3); `requestId` names the log line. */
export function problemDocument(problem: Problem, requestId: string) {
  return {
    type: `urn:tallystick:problem:${problem.code.toLowerCase().replaceAll('_', '-')}`,
    title: PROBLEMS[problem.code].title,
    status: problem.status,
    detail: problem.detail,
    instance: `urn:tallystick:request:${requestId}`,
    code: problem.code,
    requestId,
    errors: problem.options.errors ?? [],
  };
}
