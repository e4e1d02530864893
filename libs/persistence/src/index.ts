export { createDataSource, type DataSourceOptions } from './data-source.js';
export { DatabaseConnection, type DatabaseConnectionOptions } from './database-connection.js';
export { assertDurability, DurabilityError } from './durability.js';
export { Batch, BATCH_STATUSES, type BatchStatus, CLOSE_REASONS, type CloseReason } from './entities/batch.js';
export { Device } from './entities/device.js';
export { Message } from './entities/message.js';
export { Receiver } from './entities/receiver.js';
export {
  REJECTION_REASONS,
  REJECTION_STATUSES,
  type RejectionReason,
  type RejectionStatus,
  RejectedMessage,
} from './entities/rejected-message.js';
export { assertSchema, expectedMigrations, migrate, SchemaError } from './schema.js';
export { inTransaction, poolOf } from './transaction.js';
export { uuidv7, uuidv7Floor } from './uuidv7.js';
