import 'reflect-metadata';
import { Socket } from 'node:net';
import { DataSource } from 'typeorm';
import { Alert } from './entities/alert.js';
import { ApiKey } from './entities/api-key.js';
import { AuditEntry } from './entities/audit-entry.js';
import { Batch } from './entities/batch.js';
import { BrokerClient } from './entities/broker-client.js';
import { BrokerEvent } from './entities/broker-event.js';
import { BrokerMetric } from './entities/broker-metric.js';
import { BrokerMetricHour, BrokerMetricMinute } from './entities/broker-metric-roll-up.js';
import { BrokerMetricRollUpState, LateBrokerMetric } from './entities/broker-metric-roll-up-state.js';
import { BrokerSession } from './entities/broker-session.js';
import { BrokerState } from './entities/broker-state.js';
import { BrokerSubscription } from './entities/broker-subscription.js';
import { DeduplicationKey } from './entities/deduplication-key.js';
import { Device } from './entities/device.js';
import { DifferingBatch } from './entities/differing-batch.js';
import { EventCount } from './entities/event-count.js';
import { Message } from './entities/message.js';
import { ObservationGap } from './entities/observation-gap.js';
import { QuarantineSizeChange } from './entities/quarantine-size-change.js';
import { QuarantineTrim } from './entities/quarantine-trim.js';
import { Receiver } from './entities/receiver.js';
import { ReceiverSlot } from './entities/receiver-slot.js';
import { RejectedMessage } from './entities/rejected-message.js';
import { SessionEndCount } from './entities/session-end-count.js';
import { SetupToken } from './entities/setup-token.js';
import { WebSession } from './entities/web-session.js';
import { migrations } from './migrations/index.js';

const telemetry = [Device, Batch, Message, RejectedMessage, QuarantineSizeChange, QuarantineTrim, Receiver, ReceiverSlot, DeduplicationKey];
const brokerMetrics = [BrokerMetric, BrokerMetricMinute, BrokerMetricHour, BrokerMetricRollUpState, LateBrokerMetric];
const brokerHistory = [
  BrokerEvent,
  BrokerClient,
  BrokerSession,
  BrokerSubscription,
  ObservationGap,
  BrokerState,
  EventCount,
  SessionEndCount,
];
const access = [ApiKey, WebSession, SetupToken, AuditEntry];
const alerts = [Alert, DifferingBatch];

export interface DataSourceOptions {
  /** Most connections; 10 by default. */
  poolSize?: number;
  /** Shown in pg_stat_activity. */
  applicationName?: string;
  /** A connection on which nothing has been heard or sent for so long is given up; by default it is waited for. */
  silenceLimitMs?: number;
  /** A statement that waits longer for a lock fails with 55P03; by default it waits. A transaction may set its own limit. */
  lockLimitMs?: number;
}

/** A TypeORM data source for the schema, not yet connected. Connecting gives up after 2 s; idle connections close after 30 s. */
export function createDataSource(url: string, options: DataSourceOptions = {}): DataSource {
  const { silenceLimitMs, lockLimitMs } = options;
  return new DataSource({
    type: 'postgres',
    url,
    entities: [...telemetry, ...brokerMetrics, ...brokerHistory, ...access, ...alerts],
    migrations,
    migrationsTableName: 'migrations',
    synchronize: false,
    uuidExtension: 'pgcrypto',
    installExtensions: false,
    applicationName: options.applicationName ?? 'tallystick',
    poolSize: options.poolSize ?? 10,
    connectTimeoutMS: 2_000,
    extra: {
      idleTimeoutMillis: 30_000,
      keepAlive: true,
      ...(lockLimitMs !== undefined && { lock_timeout: lockLimitMs }),
      ...(silenceLimitMs !== undefined && { stream: () => mortalSocket(silenceLimitMs) }),
    },
    // An idle connection that breaks is replaced by the pool at its next use; the query that meets it reports the error.
    poolErrorHandler: () => undefined,
  });
}

/**
 * A connection may be dead without having been closed: a firewall or a proxy forgot it. Keepalive does not tell, since it waits
 * for what was sent to be delivered, for a quarter of an hour on Linux. The query under way fails with ETIMEDOUT.
 */
function mortalSocket(silenceLimitMs: number): Socket {
  const socket = new Socket();
  socket.setTimeout(silenceLimitMs, () => {
    socket.destroy(Object.assign(new Error(`the database has been silent for ${silenceLimitMs} ms`), { code: 'ETIMEDOUT' }));
  });
  return socket;
}

/** The entry of the TypeORM command line only: `npm run migration:generate`. */
export default createDataSource(process.env.DATABASE_URL ?? 'postgres://postgres@127.0.0.1:5432/tallystick');
