import { EXIT_SOFTWARE } from './exit-codes.js';

/** "Stop the process; a restart recovers." Thrown where nobody catches, or handed to `Lifecycle.fail`. */
export class FatalError extends Error {
  readonly exitCode: number;
  readonly code: string;

  constructor(message: string, options: { code?: string; exitCode?: number; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.name = 'FatalError';
    this.code = options.code ?? 'FATAL';
    this.exitCode = options.exitCode ?? EXIT_SOFTWARE;
  }
}
