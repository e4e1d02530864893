import { setFlagsFromString } from 'node:v8';
import type { INestApplication, NestApplicationOptions } from '@nestjs/common';
import { ConfigurationError, type HttpSettings, loadConfig, printSettings } from '@tallystick/config';
import { EXIT_OK, EXIT_SHUTDOWN_TIMEOUT, EXIT_SOFTWARE, EXIT_UNAVAILABLE, exitCodeOf } from './exit-codes.js';
import { FatalError } from './fatal-error.js';
import { createLogger, type JsonLogger } from './json-logger.js';
import { Lifecycle } from './lifecycle.js';

/** From the request to stop to the end of the process, at most. */
export const SHUTDOWN_LIMIT_MS = 10_000;

export interface AppDefinition<C extends { readonly http: HttpSettings }> {
  /** Name of the service in log lines. */
  readonly name: string;
  readonly config: new () => C;
  /** Options of V8 for this app, each with its reason where it is given. */
  readonly v8Options?: readonly string[];
  /** Makes the Nest app with the given options; does not listen, does not wait for database or broker. */
  create(config: Readonly<C>, options: NestApplicationOptions): Promise<INestApplication>;
  /** After HTTP answers, so that probes do while this waits: `startAllMicroservices()` and the like. */
  afterListen?(app: INestApplication, config: Readonly<C>): Promise<unknown>;
  /** On the request to stop, after /readyz turned and before Nest closes: finish or give up what is under way. */
  drain?(app: INestApplication): Promise<unknown>;
}

/**
 * The life of a process, the same for every app: configuration, start, HTTP, then the rest, until SIGTERM, SIGINT or the
 * end of the supervisor. The only place that ends the process; exit codes are in exit-codes.ts. With `--check-config` it only
 * checks the configuration, with `--print-config` it prints what the configuration came to, without secrets.
 */
export async function runApp<C extends { readonly http: HttpSettings }>(definition: AppDefinition<C>): Promise<void> {
  const config = configurationOf(definition.config);
  if (process.argv.includes('--check-config')) process.exit(EXIT_OK);
  if (process.argv.includes('--print-config')) {
    process.stdout.write(`${printSettings(config, process.env)}\n`, () => process.exit(EXIT_OK));
    return;
  }
  definition.v8Options?.forEach((option) => setFlagsFromString(option));
  const logger = createLogger(definition.name, config.http.logLevel);
  const fail = (message: string, error: unknown): never => {
    logger.fatal(message, error instanceof Error ? error : new Error(String(error)));
    process.exit(exitCodeOf(error));
  };
  // Node raises an unhandled rejection as an uncaught exception, so this covers both.
  process.on('uncaughtException', (error, origin) => fail(origin, error));
  // The supervisor that reads our output may die first; its broken pipe must not keep us from stopping in order.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

  let app: INestApplication | undefined;
  let stopping = false;
  stopOnRequest(logger, async () => {
    stopping = true;
    if (!app) return;
    app.get(Lifecycle, { strict: false }).drain();
    await definition.drain?.(app);
    await app.close();
  });
  try {
    app = await definition.create(config, { logger, abortOnError: false });
    await listen(app, config.http);
    app.get(Lifecycle, { strict: false }).started();
    logger.log('listening', { url: await app.getUrl() });
    await definition.afterListen?.(app, config);
  } catch (error) {
    // Asked to stop while starting: what the stop tore away is no failure of the start.
    if (!stopping) fail('start failed', error);
  }
}

function configurationOf<C extends object>(type: new () => C): Readonly<C> {
  try {
    return loadConfig(type, process.env);
  } catch (error) {
    // No logger yet: its level is part of the configuration. One problem a line, for a person at a terminal.
    if (!(error instanceof ConfigurationError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(error.exitCode);
  }
}

async function listen(app: INestApplication, { host, port }: HttpSettings): Promise<void> {
  try {
    await app.listen(port, host);
  } catch (error) {
    const code = (error as { code?: unknown }).code;
    if (code !== 'EADDRINUSE' && code !== 'EACCES' && code !== 'EADDRNOTAVAIL') throw error;
    const problem = { EADDRINUSE: 'is in use', EACCES: 'needs more rights', EADDRNOTAVAIL: 'is no address of this machine' }[code];
    throw new FatalError(`${host}:${port} ${problem}: set HOST and PORT, or stop what uses it`, {
      code,
      exitCode: EXIT_UNAVAILABLE,
      cause: error,
    });
  }
}

/** Calls `close` once, at the first request to stop, and ends the process when it is done or the limit is reached. */
function stopOnRequest(logger: JsonLogger, close: () => Promise<void>): void {
  let stopping = false;
  const stop = (reason: string) => {
    // Ctrl-C reaches us directly and through the supervisor; the second request must not cut the first one short.
    if (stopping) return;
    stopping = true;
    logger.log('stopping', { reason });
    setTimeout(() => {
      logger.fatal(`not stopped within ${SHUTDOWN_LIMIT_MS} ms; what was under way is left to the next start`);
      process.exit(EXIT_SHUTDOWN_TIMEOUT);
    }, SHUTDOWN_LIMIT_MS);
    close().then(
      () => {
        logger.log('stopped');
        process.exit(EXIT_OK);
      },
      (error: unknown) => {
        logger.fatal('stopping failed', error instanceof Error ? error : new Error(String(error)));
        process.exit(error instanceof Error ? exitCodeOf(error) : EXIT_SOFTWARE);
      },
    );
  };
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
  // Started with an IPC channel: its end is the supervisor's end, however it came.
  if (process.send) process.on('disconnect', () => stop('supervisor gone'));
}
