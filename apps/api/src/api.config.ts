import { DatabaseSettings, Group, HttpSettings, Setting } from '@tallystick/config';
import { IsString } from 'class-validator';

export class ApiConfig {
  @Setting({
    env: 'ALLOWED_HOSTS',
    describe: 'Names, with commas between, by which the API may be addressed besides localhost (behind a proxy, say).',
  })
  @IsString({ each: true })
  readonly allowedHosts: string[] = [];

  @Group(HttpSettings, { port: 3000 })
  readonly http: HttpSettings;

  @Group(DatabaseSettings)
  readonly database: DatabaseSettings;
}
