import { DatabaseSettings, Group, HttpSettings } from '@tallystick/config';

export class ApiConfig {
  @Group(HttpSettings, { port: 3000 })
  readonly http: HttpSettings;

  @Group(DatabaseSettings)
  readonly database: DatabaseSettings;
}
