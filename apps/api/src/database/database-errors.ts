/** The app has not been able to connect yet, or is stopping. */
export class DatabaseUnavailableError extends Error {
  readonly code = 'DATABASE_UNAVAILABLE';

  constructor(problem: string) {
    super(`The database cannot be used: ${problem}`);
    this.name = 'DatabaseUnavailableError';
  }
}

const NETWORK_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EPIPE',
]);

/** query_canceled: `statement_timeout` has struck, or somebody has cancelled the statement. */
const CANCELLED_SQLSTATE = '57014';

/**
 * SQLSTATE classes (PostgreSQL, appendix A): 08 connection, 53 out of resources, 57 operator intervention (shutdown, starting
 * up), 28 and 3D the server does not let us in. Not 08P01, protocol violation: that is our bug.
 */
const UNAVAILABLE_SQLSTATE = /^(08(?!P01)|53|57(?!014)|28|3D)/;

/** pg and pg-pool give these no code. */
const UNCODED =
  /^(timeout exceeded when trying to connect|Connection terminated|Query read timeout|Client has encountered a connection error)/;

/** Whether a value is one that PostgreSQL cannot take (class 22, data exception): JSON that jsonb cannot hold, for one. */
export function isDataException(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' && /^22[0-9A-Z]{3}$/.test(code);
}

/** Whether PostgreSQL gave a statement up that it had begun. */
export function statementGivenUp(error: unknown): boolean {
  return error instanceof Error && (error as { code?: unknown }).code === CANCELLED_SQLSTATE;
}

/** Whether an error says that PostgreSQL is away, starting, stopping or overloaded, not that the request was wrong. */
export function databaseUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof DatabaseUnavailableError) return true;
  // A refused connection to a name with several addresses.
  if (error instanceof AggregateError && error.errors.some(databaseUnavailable)) return true;
  const code = (error as { code?: unknown }).code;
  if (typeof code !== 'string') return UNCODED.test(error.message);
  return NETWORK_CODES.has(code) || (/^[0-9A-Z]{5}$/.test(code) && UNAVAILABLE_SQLSTATE.test(code));
}
