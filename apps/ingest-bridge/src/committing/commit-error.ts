import { isPassingSqlState } from '@tallystick/persistence';

/** A pending batch is no longer as its lane left it: another process sealed or failed it. The lane starts a new one. */
export class BatchTakenError extends Error {
  readonly code = 'BATCH_TAKEN';

  constructor(readonly batchIds: readonly string[]) {
    super(`no longer ours: ${batchIds.join(', ')}`);
    this.name = 'BatchTakenError';
  }
}

/** Rejections no longer wait for their replay: another bridge stored them, or somebody discarded them. The lane stores the rest. */
export class ReplayTakenError extends Error {
  readonly code = 'REPLAY_TAKEN';

  constructor(readonly rejectionIds: readonly string[]) {
    super(`no longer to be replayed: ${rejectionIds.length} rejections`);
    this.name = 'ReplayTakenError';
  }
}

/** Another process receives under our client id: what we hold is delivered to it, and storing it too would double it. */
export class ReceiverReplacedError extends Error {
  readonly code = 'RECEIVER_REPLACED';
  /** sysexits.h EX_PROTOCOL. */
  readonly exitCode = 76;

  constructor(options: ErrorOptions) {
    super('another process receives under our MQTT_CLIENT_ID; give each process one of its own', options);
    this.name = 'ReceiverReplacedError';
  }
}

export const COMMIT_FAILURES = [
  /** A batch is another's: start a new one with the same messages. */
  'batch_taken',
  /** A message of the plan is stored already, by another writer, under the same deduplication key: find it, store the rest. */
  'key_taken',
  /** A rejection of the plan is replayed by another bridge or was discarded: store the rest. */
  'replay_taken',
  /** Another process receives under our client id: stop. */
  'replaced',
  /** A day has no partition yet: make it and try again. */
  'partition_missing',
  /** A device or batch that we remember is gone: forget what we remember and try again. */
  'reference_missing',
  /** Our own transaction of before, its outcome unknown, may have landed. */
  'already_there',
  /** PostgreSQL refuses a row for what is in it: find the row, keep the rest. */
  'row_refused',
  /** The database is away, busy or out of space: the same transaction again, for as long as it takes. */
  'passing',
  /** Nothing we know: tried again like a passing failure, and an alarm. */
  'unknown',
] as const;
export type CommitFailure = (typeof COMMIT_FAILURES)[number];

const CONNECTION_CODES = ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'];
/** Data exceptions and program limits: something in a row. */
const ROW_CLASSES = ['22', '54'];
/** Raised by assert_receiver_epoch. */
const RECEIVER_REPLACED = 'TS001';
const UNIQUE_VIOLATION = '23505';
const CHECK_VIOLATION = '23514';

/** What a failed commit means for the next try. */
export function commitFailure(error: unknown): CommitFailure {
  if (error instanceof BatchTakenError) return 'batch_taken';
  if (error instanceof ReplayTakenError) return 'replay_taken';
  const { code, message, constraint } = error as { code?: string; message?: string; constraint?: string };
  if (code === undefined) return /connection|timeout|terminat/i.test(message ?? '') ? 'passing' : 'unknown';
  if (code === RECEIVER_REPLACED) return 'replaced';
  if (code === '42P01') return 'partition_missing';
  if (code === '23503') return 'reference_missing';
  if (code === UNIQUE_VIOLATION) return constraint === 'deduplication_keys_pkey' ? 'key_taken' : 'already_there';
  if (CONNECTION_CODES.includes(code)) return 'passing';
  if (code.length !== 5) return 'unknown';
  if (isPassingSqlState(code)) return 'passing';
  return isAboutRow(error as { code: string; constraint?: string; table?: string }) ? 'row_refused' : 'unknown';
}

/** A check of a row by its name; without a name it would be the partition's bound, which is our mistake and not the row's. */
function isAboutRow({ code, constraint, table }: { code: string; constraint?: string; table?: string }): boolean {
  if (code === CHECK_VIOLATION) return constraint !== undefined && /^(messages|rejected_messages)/.test(table ?? '');
  return ROW_CLASSES.includes(code.slice(0, 2));
}
