import { IsIn, IsNotEmpty, IsString } from 'class-validator';
import { IsTcpPort } from './is-tcp-port.js';
import { Setting } from './setting.js';

export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** What every app has: where it listens for HTTP (probes, metrics, for `api` all of it) and how much it logs. */
export class HttpSettings {
  @Setting({ env: 'HOST', describe: 'Address that HTTP (probes, metrics, API) listens on.' })
  @IsString()
  @IsNotEmpty()
  readonly host: string = '127.0.0.1';

  @Setting({ env: 'PORT', describe: 'Port of HTTP; 0 takes a free one.' })
  @IsTcpPort(0)
  readonly port: number = 3000;

  @Setting({ env: 'LOG_LEVEL', describe: `One of ${LOG_LEVELS.join(', ')}.` })
  @IsIn(LOG_LEVELS)
  readonly logLevel: LogLevel = 'info';
}
