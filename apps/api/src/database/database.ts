import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { DatabaseSettings } from '@tallystick/config';
import { Lifecycle, Metrics } from '@tallystick/observability';
import { assertReaderRole, createDataSource, DatabaseConnection, poolOf, READER_ROLE } from '@tallystick/persistence';
import { escapeLiteral, type PoolClient } from 'pg';
import { connectionOf } from './connection-of.js';
import { databaseUnavailable, DatabaseUnavailableError } from './database-errors.js';
import { addPoolMetrics } from './pool-metrics.js';

/** Whose rows are seen: one tenant's, all of the platform, or none. Row-level security holds whatever a query says. */
export interface Sight {
  tenantId: string | null;
  isPlatform: boolean;
}

/** For what has no tenant: keys, sessions. Sees no rows of any tenant. */
export const NO_TENANT: Sight = { tenantId: null, isPlatform: false };

/** One statement of a read; rows have the columns that the statement names. */
export type Reader = (<Row>(sql: string, parameters?: readonly unknown[]) => Promise<Row[]>) & {
  /** What a query narrows itself to, besides row-level security; null: nothing. */
  readonly tenantId: string | null;
};

/** Whether the login may be an owner or superuser (DATABASE_ALLOW_OWNER). */
export const ALLOW_OWNER = Symbol('ALLOW_OWNER');

/** A statement that takes longer is given up, by the server and, should that not answer, by us. */
export const STATEMENT_LIMIT_MS = 10_000;

/** The database as this app uses it: connected in the background, away without the app going away. */
@Injectable()
export class Database implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly connection: DatabaseConnection;
  private readonly logger = new Logger('Database');

  constructor(
    settings: DatabaseSettings,
    private readonly lifecycle: Lifecycle,
    @Inject(ALLOW_OWNER) allowOwner: boolean,
    metrics: Metrics,
  ) {
    const dataSource = createDataSource(settings.connectionUrl, { poolSize: settings.poolSize, applicationName: 'tallystick-api' });
    // Durability is the writers' concern: this app acknowledges nothing.
    this.connection = new DatabaseConnection(dataSource, {
      allowDataLoss: true,
      onRetry: (error, delayMs) => this.logger.warn('database away', { error, delayMs }),
      assertUsable: (source) => assertReaderRole(source, { allowOwner }),
    });
    addPoolMetrics(metrics, () => (dataSource.isInitialized ? poolOf(dataSource) : undefined));
  }

  onApplicationBootstrap(): void {
    this.connection.connect().then(
      () => this.logger.log('database connected'),
      (error: Error) => {
        // An outdated schema: no retry mends it. AbortError is our own shutdown.
        if (error.name !== 'AbortError') this.lifecycle.fail(error);
      },
    );
  }

  async onApplicationShutdown(): Promise<void> {
    await this.connection.close();
  }

  /**
   * Runs the statements of one answer in one read-only transaction, so that all of them see the same rows: a batch that is
   * being filled must not look damaged. They run as `tallystick_api`, and see the rows of the caller's tenant only.
   */
  read<T>(sight: Sight, work: (read: Reader) => Promise<T>): Promise<T> {
    return this.transaction('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY', sight, work);
  }

  /** As `read`, for the few things that the API may change. */
  write<T>(sight: Sight, work: (run: Reader) => Promise<T>): Promise<T> {
    return this.transaction('BEGIN', sight, work);
  }

  private async transaction<T>(begin: string, sight: Sight, work: (read: Reader) => Promise<T>): Promise<T> {
    if (this.connection.problem !== undefined) throw new DatabaseUnavailableError(this.connection.problem);
    const client = await connectionOf(poolOf(this.connection.dataSource));
    const read = readerOf(client, sight);
    let broken: Error | undefined;
    const onBroken = (error: unknown) => (broken = error as Error);
    // A connection that breaks between two statements says so as an event; unheard, it would end the process.
    client.on('error', onBroken);
    try {
      // One message to the server instead of two, so its values are literals.
      await read(
        `${begin}; SELECT set_config('role', '${READER_ROLE}', true), set_config('statement_timeout', '${STATEMENT_LIMIT_MS}', true),
           set_config('app.tenant', ${escapeLiteral(sight.tenantId ?? '')}, true), set_config('app.platform', '${sight.isPlatform ? 'on' : 'off'}', true)`,
      );
      const result = await work(read);
      await read('COMMIT');
      return result;
    } catch (error) {
      // A connection in doubt is thrown away: a ROLLBACK over it might never be answered.
      if (databaseUnavailable(error)) onBroken(error);
      else await read('ROLLBACK').catch(onBroken);
      throw error;
    } finally {
      client.off('error', onBroken);
      client.release(broken);
    }
  }
}

function readerOf(client: PoolClient, { tenantId }: Sight): Reader {
  const read = async <Row>(text: string, values: readonly unknown[] = []) => {
    const statement = { text, values: [...values], query_timeout: STATEMENT_LIMIT_MS + 1000 };
    return (await client.query<Row & object>(statement)).rows;
  };
  return Object.assign(read, { tenantId });
}
