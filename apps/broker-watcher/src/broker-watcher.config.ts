import { DatabaseSettings, Group, HttpSettings, MqttSettings, Setting } from '@tallystick/config';
import { IsInt, IsNotEmpty, IsString, Max, MaxLength, Min } from 'class-validator';

export class BrokerWatcherConfig {
  @Setting({ env: 'BROKER_NAME', describe: 'Name of the watched broker in the database. One watcher for each.' })
  @IsString()
  @IsNotEmpty()
  @MaxLength(100)
  readonly brokerName: string = 'local';

  @Setting({ env: 'MAX_UNACKNOWLEDGED', describe: 'Most messages the broker may have in flight to the process (MQTT 5 Receive Maximum).' })
  @IsInt()
  @Min(1)
  @Max(32_767)
  readonly maxUnacknowledged: number = 4_000;

  @Group(MqttSettings, { clientId: 'tallystick-watcher' })
  readonly mqtt: MqttSettings;

  @Group(DatabaseSettings)
  readonly database: DatabaseSettings;

  @Group(HttpSettings, { port: 3002 })
  readonly http: HttpSettings;
}
