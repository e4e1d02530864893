import { IsIn, IsInt, IsNotEmpty, IsString, IsUrl, Max, MaxLength, Min, ValidateIf } from 'class-validator';
import { Setting } from './setting.js';

export const MQTT_PROTOCOL_VERSIONS = ['auto', '5', '3.1.1'] as const;
export type MqttProtocolVersion = (typeof MQTT_PROTOCOL_VERSIONS)[number];

/** Where the broker is and who we are to it. */
export class MqttSettings {
  @Setting({ env: 'MQTT_URL', describe: 'Broker as `mqtt://host:1883` or `mqtts://host:8883`.', secret: true })
  @IsNotEmpty({ message: 'is not set: it must name the broker, such as mqtt://localhost:1883' })
  @IsUrl(
    { protocols: ['mqtt', 'mqtts', 'tcp', 'ssl', 'ws', 'wss'], require_protocol: true, require_tld: false, allow_underscores: true },
    { message: 'must be a URL such as mqtt://localhost:1883' },
  )
  readonly url: string;

  @Setting({ env: 'MQTT_USERNAME', describe: 'User name for the broker.' })
  readonly username?: string;

  @Setting({ env: 'MQTT_PASSWORD', describe: 'Password for the broker.', secret: true })
  readonly password?: string;

  @Setting({
    env: 'MQTT_CLIENT_ID',
    describe:
      'Fixed client id. The broker keeps the session, and so the unacknowledged messages, under this name. Not set, the bridges of a MQTT_SHARED_GROUP claim one each, and a bridge alone is `ingest-bridge-1`.',
  })
  @ValidateIf((settings: MqttSettings) => settings.clientId !== undefined)
  @IsString()
  @IsNotEmpty()
  @MaxLength(100)
  readonly clientId?: string;

  @Setting({ env: 'MQTT_CA_FILE', describe: 'PEM file of the authorities that may sign the broker’s certificate.' })
  readonly caFile?: string;

  @Setting({ env: 'MQTT_CERT_FILE', describe: 'PEM file of our client certificate.' })
  @ValidateIf((settings: MqttSettings) => settings.keyFile !== undefined)
  @IsNotEmpty({ message: 'is not set although MQTT_KEY_FILE is: a client certificate needs both' })
  readonly certFile?: string;

  @Setting({ env: 'MQTT_KEY_FILE', describe: 'PEM file of our client certificate’s private key.' })
  @ValidateIf((settings: MqttSettings) => settings.certFile !== undefined)
  @IsNotEmpty({ message: 'is not set although MQTT_CERT_FILE is: a client certificate needs both' })
  readonly keyFile?: string;

  @Setting({ env: 'MQTT_PROTOCOL_VERSION', describe: '`5`, `3.1.1`, or `auto`: 5, and 3.1.1 when the broker refuses it.' })
  @IsIn(MQTT_PROTOCOL_VERSIONS)
  readonly protocolVersion: MqttProtocolVersion = 'auto';

  @Setting({
    env: 'MQTT_KEEPALIVE_S',
    describe: 'Keepalive in seconds. Below 60 a busy process may be late and be thrown out by the broker.',
  })
  @IsInt()
  @Min(1)
  @Max(65_535)
  readonly keepaliveS: number = 60;
}
