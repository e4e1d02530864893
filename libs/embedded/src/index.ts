export { type AedesOptions, startAedes } from './aedes.js';
export { BROKER_PORT_SETTING, type EmbeddedBroker } from './embedded-broker.js';
export {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  embeddedPostgresUrl,
  POSTGRES_PORT_SETTING,
  startEmbeddedPostgres,
} from './embedded-postgres.js';
export {
  AlreadyRunningError,
  EmbeddedError,
  FolderNotWritableError,
  MissingProgramError,
  NotADataFolderError,
  PasswordRefusedError,
  PortInUseError,
  ServerExitedError,
  WrongMajorVersionError,
} from './errors.js';
export { findMosquitto, type MosquittoOptions, startMosquitto } from './mosquitto.js';
export { freePort, portInUse } from './ports.js';
export { findPostgres, type PostgresBinaries } from './postgres-binaries.js';
export type { ServerExit } from './server-process.js';
export { type BrokerOptions, startBroker } from './start-broker.js';
