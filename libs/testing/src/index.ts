export { type Certificate, TestAuthority } from './certificates.js';
export { onCleanUp, stopAll } from './clean-up.js';
export { type InstalledPostgres, installedPostgres } from './installed-postgres.js';
export { type AppName, type LogLine, RunningApp, startApp, type StartAppOptions } from './running-app.js';
export { type Direction, FaultProxy } from './fault-proxy.js';
export { PacketTrace, type TracedPacket } from './packet-trace.js';
export { startTestBroker, TestBroker, type TestBrokerOptions } from './test-broker.js';
export { createEmptyDatabase, createTestDatabase, type TestDatabase } from './test-database.js';
export { until, type UntilOptions } from './until.js';
