import { EXIT_CONFIGURATION } from '@tallystick/config';

/** The process was asked to stop and did so. */
export const EXIT_OK = 0;
/** sysexits.h EX_UNAVAILABLE: something the process needs for itself is taken, such as its port. */
export const EXIT_UNAVAILABLE = 69;
/** sysexits.h EX_SOFTWARE: an error nobody expected; a restart recovers. */
export const EXIT_SOFTWARE = 70;
/** sysexits.h EX_TEMPFAIL: asked to stop, not done within the time allowed; what was under way is redelivered after a restart. */
export const EXIT_SHUTDOWN_TIMEOUT = 75;
/** sysexits.h EX_DATAERR: the database schema is older than this version needs (SchemaError of libs/persistence). */
export const EXIT_SCHEMA = 65;
/** sysexits.h EX_PROTOCOL: another process uses our MQTT client id; two would fight for one session. */
export const EXIT_REPLACED = 76;
/** sysexits.h EX_CONFIG: a restart with the same configuration cannot help. */
export { EXIT_CONFIGURATION };

/** The exit code an error asks for by a numeric `exitCode` of 1..255; otherwise the one for "a restart recovers". */
export function exitCodeOf(error: unknown): number {
  const asked = error instanceof Error ? (error as { exitCode?: unknown }).exitCode : undefined;
  return typeof asked === 'number' && Number.isInteger(asked) && asked >= 1 && asked <= 255 ? asked : EXIT_SOFTWARE;
}
