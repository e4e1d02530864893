import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { DatabaseSettings } from '@tallystick/config';
import { Lifecycle, Metrics } from '@tallystick/observability';
import { assertReaderRole, createDataSource, DatabaseConnection, poolOf } from '@tallystick/persistence';
import { connectionOf } from './connection-of.js';
import { DatabaseUnavailableError } from './database-errors.js';
import { addPoolMetrics } from './pool-metrics.js';
import { type Reader, type Sight, Transaction, type TransactionKind } from './transaction.js';

export type { Planning, Reader, Sight } from './transaction.js';

/** For what has no tenant: keys, sessions. Sees no rows of any tenant. */
export const NO_TENANT: Sight = { tenantId: null, isPlatform: false };

/** Whether the login may be an owner or superuser (DATABASE_ALLOW_OWNER). */
export const ALLOW_OWNER = Symbol('ALLOW_OWNER');

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
  async read<T>(sight: Sight, work: (read: Reader) => Promise<T>): Promise<T> {
    const transaction = await this.begin(sight, { begin: 'BEGIN ISOLATION LEVEL REPEATABLE READ', isReadOnly: true });
    const result = await transaction.run(work);
    // The answer has all it needs and does not wait for it; the connection does.
    transaction.commit().catch((error: unknown) => this.logger.warn('a read was not ended: its connection is thrown away', { error }));
    return result;
  }

  /** As `read`, for an answer of a single statement, which is a transaction by itself: one message to the server and one back. */
  async readOnce<T>(sight: Sight, work: (read: Reader) => Promise<T>): Promise<T> {
    const transaction = await this.begin(sight, { isReadOnly: true });
    const result = await transaction.run(work);
    transaction.release();
    return result;
  }

  /** As `read`, for the few things that the API may change. */
  async write<T>(sight: Sight, work: (run: Reader) => Promise<T>): Promise<T> {
    const transaction = await this.begin(sight, { begin: 'BEGIN', isReadOnly: false });
    const result = await transaction.run(work);
    await transaction.commit();
    return result;
  }

  private async begin(sight: Sight, kind: TransactionKind): Promise<Transaction> {
    if (this.connection.problem !== undefined) throw new DatabaseUnavailableError(this.connection.problem);
    return new Transaction(await connectionOf(poolOf(this.connection.dataSource)), sight, kind);
  }
}
