import { DatabaseSettings, Group, HttpSettings, MqttSettings, Setting } from '@tallystick/config';
import {
  IsInt,
  IsNotEmpty,
  IsString,
  Max,
  MaxLength,
  Min,
  Validate,
  type ValidationArguments,
  ValidatorConstraint,
  type ValidatorConstraintInterface,
} from 'class-validator';

/** A value that comes late goes into its minute, and the hour is made anew of all of its minutes. */
@ValidatorConstraint()
class OutlivesRaw implements ValidatorConstraintInterface {
  validate(days: number, validated?: ValidationArguments): boolean {
    return days >= (validated!.object as BrokerWatcherConfig).metricsRawDays;
  }

  defaultMessage(): string {
    return 'must not be less than METRICS_RAW_DAYS';
  }
}

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

  @Setting({
    env: 'METRICS_RAW_DAYS',
    describe: 'Whole days for which every $SYS value is kept. The least of all watchers of a database counts.',
  })
  @IsInt()
  @Min(1)
  @Max(36_500)
  readonly metricsRawDays: number = 7;

  @Setting({
    env: 'METRICS_1M_DAYS',
    describe: 'Whole days for which $SYS values are kept by minute; by hour they are kept for ever. The least of all watchers counts.',
  })
  @IsInt()
  @Min(1)
  @Max(36_500)
  @Validate(OutlivesRaw)
  readonly metrics1mDays: number = 90;

  @Group(MqttSettings, { clientId: 'tallystick-watcher' })
  readonly mqtt: MqttSettings & { readonly clientId: string };

  @Group(DatabaseSettings)
  readonly database: DatabaseSettings;

  @Group(HttpSettings, { port: 3002 })
  readonly http: HttpSettings;
}
