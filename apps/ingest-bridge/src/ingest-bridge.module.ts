import { type DynamicModule, Logger, Module, type OnApplicationShutdown } from '@nestjs/common';
import { DeferredAckMqttServer, type Route } from '@tallystick/mqtt';
import { type CheckResult, databaseCheck, ObservabilityModule, type ReadinessCheck } from '@tallystick/observability';
import { createDataSource, DatabaseConnection, PartitionKeeper, ReceiverFilters, SILENCE_LIMIT_MS } from '@tallystick/persistence';
import { DROPPED_TOPIC } from './broker/broker-advice.js';
import { BROKER_ROUTE, BrokerController } from './broker/broker.controller.js';
import { BrokerWatch } from './broker/broker-watch.js';
import { KeyExpiry } from './committing/key-expiry.js';
import { TelemetryRepository } from './committing/telemetry.repository.js';
import { Writer } from './committing/writer.js';
import { IngestMetrics } from './ingest.metrics.js';
import { IngestBridgeConfig } from './ingest-bridge.config.js';
import { IntakeController, TELEMETRY_ROUTE } from './intake/intake.controller.js';
import { QuarantineKeeper } from './quarantine/quarantine-keeper.js';
import { QuarantineReplay } from './quarantine/quarantine-replay.js';
import { QuarantineRepository } from './quarantine/quarantine.repository.js';
import { BatchRecovery } from './recovery/batch-recovery.js';
import { Redeliveries } from './recovery/redeliveries.js';
import { AbandonedSlots } from './slots/abandoned-slots.js';
import { slotToDrain } from './slots/drain.js';
import { Receiver } from './slots/receiver.js';
import { SlotHolder } from './slots/slot-holder.js';

/** Bytes of payloads and topics unacknowledged at once; with this much the process stays well below 250 MB. */
const MAX_HELD_BYTES = 64 * 1024 * 1024;
const DATABASE_CHECK = Symbol('database check');
const BROKER_CHECK = Symbol('broker check');
const WRITER_CHECK = Symbol('writer check');

@Module({})
export class IngestBridgeModule implements OnApplicationShutdown {
  constructor(private readonly connection: DatabaseConnection) {}

  static forRoot(config: Readonly<IngestBridgeConfig>): DynamicModule {
    return {
      module: IngestBridgeModule,
      imports: [ObservabilityModule.forRoot({ checks: [DATABASE_CHECK, BROKER_CHECK, WRITER_CHECK] })],
      controllers: [IntakeController, BrokerController],
      providers: [
        { provide: IngestBridgeConfig, useValue: config },
        { provide: DatabaseConnection, useFactory: () => databaseConnection(config) },
        {
          provide: DeferredAckMqttServer,
          useFactory: (connection: DatabaseConnection, receiver: Receiver) => mqttServer(config, connection, receiver),
          inject: [DatabaseConnection, Receiver],
        },
        { provide: Receiver, useValue: new Receiver(config.clientId) },
        SlotHolder,
        AbandonedSlots,
        Redeliveries,
        BatchRecovery,
        IngestMetrics,
        BrokerWatch,
        TelemetryRepository,
        { provide: PartitionKeeper, useFactory: partitionKeeper, inject: [TelemetryRepository] },
        KeyExpiry,
        Writer,
        QuarantineRepository,
        QuarantineKeeper,
        QuarantineReplay,
        { provide: DATABASE_CHECK, useFactory: databaseCheck, inject: [DatabaseConnection] },
        { provide: BROKER_CHECK, useFactory: brokerCheck, inject: [DeferredAckMqttServer, BrokerWatch] },
        { provide: WRITER_CHECK, useFactory: (writer: Writer) => problemCheck('writer', writer), inject: [Writer] },
      ],
    };
  }

  async onApplicationShutdown(): Promise<void> {
    await this.connection.close();
  }
}

function databaseConnection({ database }: Readonly<IngestBridgeConfig>): DatabaseConnection {
  const logger = new Logger(DatabaseConnection.name);
  const { poolSize, connectionUrl } = database;
  const dataSource = createDataSource(connectionUrl, { poolSize, applicationName: 'ingest-bridge', silenceLimitMs: SILENCE_LIMIT_MS });
  return new DatabaseConnection(dataSource, {
    allowDataLoss: database.allowDataLoss,
    onRetry: (error, delayMs) => logger.warn('database not reachable, trying again', { reason: error.message, delayMs }),
  });
}

function partitionKeeper(repository: TelemetryRepository): PartitionKeeper {
  return new PartitionKeeper((fromMs, toMs) => repository.ensurePartitions(fromMs, toMs), new Logger(PartitionKeeper.name));
}

function mqttServer(config: Readonly<IngestBridgeConfig>, connection: DatabaseConnection, receiver: Receiver): DeferredAckMqttServer {
  const { mqtt, filters, maxUnacknowledged, dedupKey } = config;
  const clientId = () => receiver.clientId;
  const memory = new ReceiverFilters(connection, clientId);
  const isDraining = slotToDrain(process.argv) !== undefined;
  const routes: Route[] = [
    { name: TELEMETRY_ROUTE, filters: isDraining ? [] : filters, qos: 1 },
    { name: BROKER_ROUTE, filters: isDraining ? [] : [DROPPED_TOPIC], qos: 0, optional: true },
  ];
  return new DeferredAckMqttServer({
    settings: mqtt,
    clientId,
    routes,
    maxUnacknowledged,
    maxHeldBytes: MAX_HELD_BYTES,
    // A bridge that died between subscribing and remembering it had these.
    filterMemory: isDraining
      ? { load: async () => [...(await memory.load()), ...filters, DROPPED_TOPIC], save: (now) => memory.save(now) }
      : memory,
    deduplicationProperty: dedupKey,
  });
}

/** Ready while subscribed; says what the broker's operator should change. */
function brokerCheck(server: DeferredAckMqttServer, watch: BrokerWatch): ReadinessCheck {
  const check = (): CheckResult =>
    server.problem === undefined ? { ready: true, detail: { advice: watch.advice } } : { ready: false, reason: server.problem };
  return { name: 'broker', check };
}

/** Ready while there is no problem to name. */
function problemCheck(name: string, part: { readonly problem: string | undefined }): ReadinessCheck {
  return { name, check: () => (part.problem === undefined ? { ready: true } : { ready: false, reason: part.problem }) };
}
