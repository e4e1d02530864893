export { counterRise } from './counter-rise.js';
export { createDataSource, type DataSourceOptions } from './data-source.js';
export { DatabaseConnection, type DatabaseConnectionOptions } from './database-connection.js';
export { assertDurability, DurabilityError } from './durability.js';
export { Batch, BATCH_STATUSES, type BatchStatus, CLOSE_REASONS, type CloseReason } from './entities/batch.js';
export { BrokerClient } from './entities/broker-client.js';
export { BrokerEvent, EVENT_ACTIONS, type EventAction } from './entities/broker-event.js';
export { BrokerMetric } from './entities/broker-metric.js';
export { BrokerMetricHour, BrokerMetricMinute } from './entities/broker-metric-roll-up.js';
export { BrokerMetricRollUpState, LateBrokerMetric } from './entities/broker-metric-roll-up-state.js';
export { BrokerSession, END_REASONS, ENDED_BY, type EndedBy, type EndReason } from './entities/broker-session.js';
export { BrokerState } from './entities/broker-state.js';
export { BrokerSubscription } from './entities/broker-subscription.js';
export { DeduplicationKey } from './entities/deduplication-key.js';
export { Device } from './entities/device.js';
export { EventCount } from './entities/event-count.js';
export { Message } from './entities/message.js';
export { GAP_REASONS, type GapReason, ObservationGap } from './entities/observation-gap.js';
export { QuarantineSizeChange } from './entities/quarantine-size-change.js';
export { QuarantineTrim, TRIM_REASONS, type TrimReason } from './entities/quarantine-trim.js';
export { Receiver } from './entities/receiver.js';
export {
  REJECTION_REASONS,
  REJECTION_STATUSES,
  type RejectionReason,
  type RejectionStatus,
  RejectedMessage,
} from './entities/rejected-message.js';
export { SessionEndCount } from './entities/session-end-count.js';
export { HEARTBEAT, heartbeatTolerance } from './heartbeat.js';
export { METRICS_ROLLED_TOGETHER_MS, MetricRollUps } from './metric-roll-ups.js';
export { PartitionKeeper } from './partition-keeper.js';
export { isPassingSqlState } from './passing-sql-state.js';
export { assertReaderRole, READER_ROLE, UnsuitableRoleError } from './reader-role.js';
export { ReceiverFilters } from './receiver-filters.js';
export { SERVICE_ROLES } from './service-roles.js';
export { assertSchema, expectedMigrations, migrate, SchemaError } from './schema.js';
export { BEGIN_LIMITED, inTransaction, poolOf, SILENCE_LIMIT_MS } from './transaction.js';
export { uuidv7, uuidv7Floor } from './uuidv7.js';
