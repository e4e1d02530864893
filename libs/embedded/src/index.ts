export * from './errors.js';
export { freePort, portInUse } from './ports.js';
export { startEmbeddedPostgres, POSTGRES_PORT_SETTING, type EmbeddedPostgres, type EmbeddedPostgresOptions } from './embedded-postgres.js';
export type { ServerExit } from './server-process.js';
