import { IsTcpPort, Setting } from '@tallystick/config';
import { IsNotEmpty } from 'class-validator';

/** Settings of `tallystick up`; those of the apps it starts are read from the same environment by the apps themselves. */
export class UpConfig {
  @Setting({ env: 'TALLYSTICK_DATA_DIR', describe: '`npm start`: folder of the embedded database and broker, and of the logs.' })
  @IsNotEmpty()
  readonly dataDir: string = '.tallystick';

  @Setting({ env: 'EMBEDDED_POSTGRES_PORT', describe: '`npm start`: port of the embedded PostgreSQL.' })
  @IsTcpPort()
  readonly postgresPort: number = 54_320;

  @Setting({ env: 'EMBEDDED_BROKER_PORT', describe: '`npm start`: port of the embedded broker.' })
  @IsTcpPort()
  readonly brokerPort: number = 1883;

  @Setting({ env: 'API_PORT', describe: '`npm start`: port of the API (apps started by hand use PORT).' })
  @IsTcpPort()
  readonly apiPort: number = 3000;

  @Setting({ env: 'INGEST_BRIDGE_PORT', describe: '`npm start`: port of the ingest bridge’s probes and metrics.' })
  @IsTcpPort()
  readonly ingestBridgePort: number = 3001;

  @Setting({ env: 'BROKER_WATCHER_PORT', describe: '`npm start`: port of the broker watcher’s probes and metrics.' })
  @IsTcpPort()
  readonly brokerWatcherPort: number = 3002;

  /** Set: the embedded PostgreSQL is not started. Checked by the apps. */
  @Setting({ env: 'DATABASE_URL', describe: 'Use this PostgreSQL instead of the embedded one.', secret: true })
  readonly databaseUrl?: string;

  /** Set: the embedded broker is not started. Checked by the apps. */
  @Setting({ env: 'MQTT_URL', describe: 'Use this broker instead of the embedded one.', secret: true })
  readonly mqttUrl?: string;

  @Setting({ env: 'HOST', describe: 'Address that HTTP (probes, metrics, API) listens on.' })
  @IsNotEmpty()
  readonly host: string = '127.0.0.1';
}
