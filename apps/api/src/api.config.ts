import { DatabaseSettings, Group, HttpSettings, Setting } from '@tallystick/config';
import { Equals, IsBoolean, IsInt, IsString, Max, Min, ValidateBy, ValidateIf } from 'class-validator';
import { AlertSettings } from './alerts/alert.settings.js';
import { LOOPBACK } from './http/known-host.js';
import { isProxyNetwork } from './http/proxy-network.js';

export class ApiConfig {
  @Setting({
    env: 'ALLOWED_HOSTS',
    describe: 'Names, with commas between, by which the API may be addressed besides localhost (behind a proxy, say).',
  })
  @IsString({ each: true })
  readonly allowedHosts: string[] = [];

  @Setting({
    env: 'TRUSTED_PROXIES',
    describe: 'Addresses or networks, with commas between, of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.',
  })
  @ValidateBy(
    { name: 'isProxyNetwork', validator: { validate: isProxyNetwork } },
    { each: true, message: 'must hold addresses or networks, such as 10.0.0.1 or 10.0.0.0/8' },
  )
  readonly trustedProxies: string[] = [];

  @Setting({ env: 'ALLOW_PLAIN_HTTP', describe: 'Listen beyond this machine without a proxy that ends TLS in front.' })
  @ValidateIf(({ http, trustedProxies }: ApiConfig) => !LOOPBACK.test(http.host) && trustedProxies.length === 0)
  @Equals(true, {
    message:
      'must be true to listen on HOST without TLS: keys could be read on the way. Better: a proxy with TLS, named in TRUSTED_PROXIES',
  })
  readonly allowPlainHttp: boolean = false;

  @Setting({ env: 'RATE_LIMIT', describe: 'Requests that one key may make within ten seconds, by process.' })
  @IsInt()
  @Min(1)
  readonly rateLimit: number = 1000;

  @Setting({ env: 'STALL_LIMIT_S', describe: 'Seconds after which a client of an export or a stream that takes nothing is cut off.' })
  @IsInt()
  @Min(1)
  @Max(3600)
  readonly stallLimitS: number = 60;

  @Setting({
    env: 'DATABASE_ALLOW_OWNER',
    describe: 'Accept a database login that is a superuser or owns the tables. For one machine and for tests only.',
  })
  @IsBoolean()
  readonly allowOwner: boolean = false;

  @Group(AlertSettings)
  readonly alerts: AlertSettings;

  @Group(HttpSettings, { port: 3000 })
  readonly http: HttpSettings;

  @Group(DatabaseSettings)
  readonly database: DatabaseSettings;
}
