import { IsBoolean, IsInt, IsNotEmpty, IsString, IsUrl, Max, Min, ValidateIf } from 'class-validator';
import { IsTcpPort } from './is-tcp-port.js';
import { Setting } from './setting.js';

/** Where PostgreSQL is: one URL, or the parts. */
export class DatabaseSettings {
  @Setting({
    env: 'DATABASE_URL',
    describe: 'PostgreSQL as `postgres://user:password@host:port/name`. Replaces the five parts below.',
    secret: true,
  })
  @ValidateIf((settings: DatabaseSettings) => settings.url !== undefined)
  @IsUrl(
    { protocols: ['postgres', 'postgresql'], require_protocol: true, require_tld: false, allow_underscores: true },
    { message: 'must be a URL such as postgres://user:password@host:5432/name' },
  )
  readonly url?: string;

  @Setting({ env: 'DATABASE_HOST', describe: 'Host of PostgreSQL, when DATABASE_URL is not set.' })
  @ValidateIf((settings: DatabaseSettings) => settings.url === undefined)
  @IsNotEmpty({ message: 'is not set, and neither is DATABASE_URL: one of them must name the database' })
  readonly host?: string;

  @Setting({ env: 'DATABASE_PORT', describe: 'Port of PostgreSQL.' })
  @IsTcpPort()
  readonly port: number = 5432;

  @Setting({ env: 'DATABASE_NAME', describe: 'Name of the database.' })
  @IsString()
  @IsNotEmpty()
  readonly name: string = 'tallystick';

  @Setting({ env: 'DATABASE_USER', describe: 'Database role.' })
  @IsString()
  @IsNotEmpty()
  readonly user: string = 'tallystick';

  @Setting({ env: 'DATABASE_PASSWORD', describe: 'Password of the role.', secret: true })
  readonly password?: string;

  @Setting({ env: 'DATABASE_POOL_SIZE', describe: 'Most connections that one process opens.' })
  @IsInt()
  @Min(2)
  @Max(500)
  readonly poolSize: number = 10;

  @Setting({
    env: 'DATABASE_ALLOW_DATA_LOSS',
    describe: 'Accept a server with fsync, full_page_writes or synchronous_commit off. For tests only.',
  })
  @IsBoolean()
  readonly allowDataLoss: boolean = false;

  /** The URL as given, or made of the parts. */
  get connectionUrl(): string {
    if (this.url !== undefined) return this.url;
    const secret = this.password === undefined ? '' : `:${encodeURIComponent(this.password)}`;
    return `postgres://${encodeURIComponent(this.user)}${secret}@${this.host ?? 'localhost'}:${this.port}/${encodeURIComponent(this.name)}`;
  }
}
