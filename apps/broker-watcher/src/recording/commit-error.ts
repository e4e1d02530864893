import { isPassingSqlState } from '@tallystick/persistence';

/** Another process watches this broker, or receives under our client id: storing what we hold too would double it. */
export class WatcherReplacedError extends Error {
  readonly code = 'WATCHER_REPLACED';
  /** sysexits.h EX_PROTOCOL. */
  readonly exitCode = 76;

  constructor(message: string, options: ErrorOptions) {
    super(message, options);
    this.name = 'WatcherReplacedError';
  }
}

export const COMMIT_FAILURES = ['replaced', 'partition_missing', 'passing', 'unknown'] as const;
export type CommitFailure = (typeof COMMIT_FAILURES)[number];

/** Raised by assert_receiver_epoch. */
const RECEIVER_REPLACED = 'TS001';

/** What a failed transaction means for the next try of the same one; whatever passes, and what we do not know, is tried again. */
export function commitFailure(error: unknown): CommitFailure {
  const { code, message, constraint } = error as { code?: string; message?: string; constraint?: string };
  if (code === RECEIVER_REPLACED) return 'replaced';
  // One open session of a client: somebody else opened one.
  if (code === '23505' && constraint === 'sessions_open_key') return 'replaced';
  // "no partition of relation found for row" is a check violation without a constraint
  if (code === '23514' && constraint === undefined) return 'partition_missing';
  if (code === undefined) return /connection|timeout|terminat/i.test(message ?? '') ? 'passing' : 'unknown';
  if (code.length !== 5) return 'passing';
  return isPassingSqlState(code) ? 'passing' : 'unknown';
}
