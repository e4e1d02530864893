import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import { assertSchema, SchemaError } from './schema.js';
import { UnsuitableRoleError } from './reader-role.js';
import { assertDurability, assertSuitable, DurabilityError, UnsuitableServerError } from './durability.js';

const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 10_000;

export interface DatabaseConnectionOptions {
  /** Accept a server that may lose what it has acknowledged (tests, demonstrations). */
  allowDataLoss: boolean;
  onRetry?: (error: Error, delayMs: number) => void;
  /** What else must hold of a server with the right schema before it is used. */
  assertUsable?: (dataSource: DataSource) => Promise<void>;
}

/** Connects a data source in the background, for as long as it takes: an app stays up while the database is away. */
export class DatabaseConnection {
  private readonly stopping = new AbortController();
  /** Why the database cannot be used now; undefined once it can. */
  problem: string | undefined = 'not connected yet';

  constructor(
    readonly dataSource: DataSource,
    private readonly options: DatabaseConnectionOptions,
  ) {}

  /**
   * Resolves when the database is connected, has the schema and keeps what it acknowledges. Rejects only with what a retry
   * cannot mend: SchemaError, DurabilityError, UnsuitableServerError, UnsuitableRoleError, or AbortError after close().
   */
  async connect(): Promise<void> {
    await this.retry(async () => {
      if (!this.dataSource.isInitialized) await this.dataSource.initialize();
      await assertSuitable(this.dataSource);
      await assertSchema(this.dataSource);
      if (!this.options.allowDataLoss) await assertDurability(this.dataSource);
      await this.options.assertUsable?.(this.dataSource);
    });
  }

  /** Does something that must succeed before the app can go on, again and again until it does. */
  async retry<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      try {
        const result = await work();
        this.problem = undefined;
        return result;
      } catch (error) {
        if (isFinal(error)) throw error;
        const delayMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempt, 16)) * (0.5 + Math.random() / 2);
        this.problem = (error as Error).message || (error as { code?: string }).code || 'unknown error';
        this.options.onRetry?.(error as Error, Math.round(delayMs));
        await sleep(delayMs, undefined, { signal: this.stopping.signal });
      }
    }
  }

  async close(): Promise<void> {
    this.stopping.abort();
    if (this.dataSource.isInitialized) await this.dataSource.destroy();
  }
}

/** What no retry mends; SQLSTATE class 42 is a statement that the server does not understand or allow. */
function isFinal(error: unknown): boolean {
  const { code } = error as { code?: string };
  return (
    error instanceof SchemaError ||
    error instanceof DurabilityError ||
    error instanceof UnsuitableServerError ||
    error instanceof UnsuitableRoleError ||
    (code?.length === 5 && code.startsWith('42'))
  );
}
