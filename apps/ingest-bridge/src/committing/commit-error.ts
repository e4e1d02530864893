/** A pending batch is no longer as its lane left it: another process sealed or failed it. The lane starts a new one. */
export class BatchTakenError extends Error {
  readonly code = 'BATCH_TAKEN';

  constructor(readonly batchIds: readonly string[]) {
    super(`no longer ours: ${batchIds.join(', ')}`);
    this.name = 'BatchTakenError';
  }
}

export type CommitFailure =
  /** A day has no partition yet: make it and try again. */
  | 'partition_missing'
  /** A device or batch that we remember is gone: forget what we remember and try again. */
  | 'reference_missing'
  /** Our own transaction of before, its outcome unknown, may have landed. */
  | 'already_there'
  /** The database is away, busy or out of space: the same transaction again, for as long as it takes. */
  | 'passing'
  /** Nothing we know: tried again like a passing failure, and an alarm. */
  | 'unknown';

const CONNECTION_CODES = ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'];
/** Connection exceptions, insufficient resources, operator intervention (PostgreSQL manual, appendix A). */
const PASSING_CLASSES = ['08', '53', '57', '58'];
const PASSING_CODES = ['40001', '40P01', '25006', '55P03'];

/** What a failed commit means for the next try. */
export function commitFailure(error: unknown): CommitFailure {
  const { code, message } = error as { code?: string; message?: string };
  if (code === '42P01') return 'partition_missing';
  if (code === '23503') return 'reference_missing';
  if (code === '23505') return 'already_there';
  if (code === undefined) return /connection|timeout/i.test(message ?? '') ? 'passing' : 'unknown';
  if (CONNECTION_CODES.includes(code) || PASSING_CODES.includes(code)) return 'passing';
  return code.length === 5 && PASSING_CLASSES.includes(code.slice(0, 2)) ? 'passing' : 'unknown';
}
