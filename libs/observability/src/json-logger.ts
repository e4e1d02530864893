import { ConsoleLogger, type LogLevel as NestLogLevel } from '@nestjs/common';
import type { LogLevel } from '@tallystick/config';
import { currentLogFields } from './log-fields.js';

const NEST_LEVELS: Record<LogLevel, NestLogLevel[]> = {
  error: ['fatal', 'error'],
  warn: ['fatal', 'error', 'warn'],
  info: ['fatal', 'error', 'warn', 'log'],
  debug: ['fatal', 'error', 'warn', 'log', 'debug', 'verbose'],
};

/** Nest tells of every module and route at start: good to have while debugging, noise otherwise. */
const FRAMEWORK_CONTEXTS = new Set(['NestFactory', 'InstanceLoader', 'RoutesResolver', 'RouterExplorer', 'NestApplication']);

/**
 * Legal unescaped in JSON, but able to break a line or steer a terminal: DEL, the C1 controls, line and paragraph
 * separators, bidirectional marks. Client ids and topics carry them into log lines.
 */
const STEERING_CHARACTERS = /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

type Line = Parameters<ConsoleLogger['getJsonLogObject']>[1];

/** Nest's ConsoleLogger with one JSON line per call, the service's name in it, and errors with code and causes. */
export class JsonLogger extends ConsoleLogger {
  constructor(
    private readonly service: string,
    logLevel: LogLevel,
  ) {
    super({ json: true, colors: false, compact: true, logLevels: NEST_LEVELS[logLevel] });
  }

  override log(message: unknown, ...rest: unknown[]): void {
    const context: unknown = rest.at(-1);
    if (typeof context === 'string' && FRAMEWORK_CONTEXTS.has(context)) this.debug(message, ...rest);
    else super.log(message, ...rest);
  }

  /** Nest's own report of a failed start; `runApp` reports the same error with its exit code. */
  override error(message: unknown, ...rest: unknown[]): void {
    if (rest.at(-1) === 'ExceptionHandler') this.debug(message, ...rest);
    else super.error(message, ...rest);
  }

  /** Nest prints a line per message; here further messages go into the first one's line. */
  protected override printMessages(...[messages, context, level, stream, stack, params]: Parameters<ConsoleLogger['printMessages']>): void {
    const { messages: texts, error } = this.extractJsonError(messages.map((message) => this.resolveMessage(message)));
    const [first, ...more] = texts;
    const all = more.length > 0 ? { ...params, more } : params;
    this.printAsJson(first, {
      context: context ?? '',
      logLevel: level ?? 'log',
      writeStreamType: stream,
      errorStack: stack,
      error,
      params: all,
    });
  }

  protected override getJsonLogObject(message: unknown, options: Line): ReturnType<ConsoleLogger['getJsonLogObject']> {
    const fields = Object.entries({ ...currentLogFields(), ...(options.params as Record<string, unknown> | undefined) });
    const line = {
      time: new Date().toISOString(),
      level: options.logLevel === 'log' ? 'info' : options.logLevel,
      service: this.service,
      pid: process.pid,
      context: options.context || undefined,
      message,
      error: options.error && this.serializeError(options.error),
      stack: options.errorStack,
    };
    // A field never replaces what the line says itself: a parameter called `level` or `service` must not forge it.
    const extra = fields
      .filter(([key]) => (line as Record<string, unknown>)[key] === undefined)
      .map(([key, value]) => [key, this.plain(value)] as const);
    return { ...line, ...Object.fromEntries(extra) } as unknown as ReturnType<ConsoleLogger['getJsonLogObject']>;
  }

  protected override stringifyJsonLogObject(line: Record<string, unknown>): string {
    return super
      .stringifyJsonLogObject(line)
      .replace(STEERING_CHARACTERS, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
  }

  private plain(value: unknown): unknown {
    return value instanceof Error ? this.serializeError(value) : value;
  }
}

/** The logger of a process. Errors and fatal lines go to stderr, the rest to stdout. */
export function createLogger(service: string, logLevel: LogLevel): JsonLogger {
  return new JsonLogger(service, logLevel);
}
