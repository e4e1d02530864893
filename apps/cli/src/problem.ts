import { EmbeddedError } from '@tallystick/embedded';
import { EXIT_UNAVAILABLE, exitCodeOf } from '@tallystick/observability';

/** A problem that the person at the terminal can mend; the message says how. */
export class CliError extends Error {
  constructor(
    message: string,
    readonly exitCode: number,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'CliError';
  }
}

/** What a person reads: the message alone where we know what happened, with the stack where we do not. */
export function problemText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error instanceof EmbeddedError || 'exitCode' in error ? error.message : (error.stack ?? error.message);
}

export function exitCodeFor(error: unknown): number {
  return error instanceof EmbeddedError ? EXIT_UNAVAILABLE : exitCodeOf(error);
}
