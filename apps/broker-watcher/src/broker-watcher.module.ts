import { type DynamicModule, Logger, Module, type OnApplicationShutdown } from '@nestjs/common';
import { DeferredAckMqttServer, type Route } from '@tallystick/mqtt';
import { type CheckResult, databaseCheck, ObservabilityModule, type ReadinessCheck } from '@tallystick/observability';
import {
  createDataSource,
  DatabaseConnection,
  MetricRollUps,
  PartitionKeeper,
  ReceiverFilters,
  SILENCE_LIMIT_MS,
} from '@tallystick/persistence';
import { BrokerWatcherConfig } from './broker-watcher.config.js';
import { BrokerStateRepository } from './gaps/broker-state.repository.js';
import { WatchKeeper } from './gaps/watch-keeper.js';
import { LOG_FILTERS, LOG_ROUTE, LogLinesController } from './log-lines/log-lines.controller.js';
import { HistoryRepository } from './recording/history.repository.js';
import { Recorder } from './recording/recorder.js';
import { StoredHistory } from './recording/stored-history.js';
import { BrokerVitals } from './sys-metrics/broker-vitals.js';
import { MetricValuesRepository } from './sys-metrics/metric-values.repository.js';
import { MetricsKeeper } from './sys-metrics/metrics-keeper.js';
import { MetricsWriter } from './sys-metrics/metrics-writer.js';
import { METRICS_FILTERS, METRICS_ROUTE, SysMetricsController } from './sys-metrics/sys-metrics.controller.js';
import { WatcherMetrics } from './watcher.metrics.js';

const MAX_HELD_BYTES = 16 * 1024 * 1024;
/** A connection that waited for a lock longer than we do would go on waiting in the server, and every try would leave one more. */
const LOCK_LIMIT_MS = 10_000;
const DATABASE_CHECK = Symbol('database check');
const BROKER_CHECK = Symbol('broker check');
const RECORDER_CHECK = Symbol('recorder check');

@Module({})
export class BrokerWatcherModule implements OnApplicationShutdown {
  constructor(private readonly connection: DatabaseConnection) {}

  static forRoot(config: Readonly<BrokerWatcherConfig>): DynamicModule {
    return {
      module: BrokerWatcherModule,
      imports: [ObservabilityModule.forRoot({ checks: [DATABASE_CHECK, BROKER_CHECK, RECORDER_CHECK] })],
      controllers: [LogLinesController, SysMetricsController],
      providers: [
        { provide: BrokerWatcherConfig, useValue: config },
        { provide: DatabaseConnection, useFactory: () => databaseConnection(config) },
        {
          provide: DeferredAckMqttServer,
          useFactory: (connection: DatabaseConnection) => mqttServer(config, connection),
          inject: [DatabaseConnection],
        },
        BrokerStateRepository,
        BrokerVitals,
        HistoryRepository,
        {
          provide: MetricRollUps,
          useFactory: (connection: DatabaseConnection) => new MetricRollUps(connection),
          inject: [DatabaseConnection],
        },
        MetricsKeeper,
        MetricsWriter,
        MetricValuesRepository,
        { provide: PartitionKeeper, useFactory: partitionKeeper, inject: [HistoryRepository] },
        Recorder,
        StoredHistory,
        WatchKeeper,
        WatcherMetrics,
        { provide: DATABASE_CHECK, useFactory: databaseCheck, inject: [DatabaseConnection] },
        { provide: BROKER_CHECK, useFactory: brokerCheck, inject: [DeferredAckMqttServer, WatchKeeper] },
        { provide: RECORDER_CHECK, useFactory: recorderCheck, inject: [Recorder] },
      ],
    };
  }

  async onApplicationShutdown(): Promise<void> {
    await this.connection.close();
  }
}

function databaseConnection({ database }: Readonly<BrokerWatcherConfig>): DatabaseConnection {
  const logger = new Logger(DatabaseConnection.name);
  const { poolSize, connectionUrl } = database;
  const limits = { lockLimitMs: LOCK_LIMIT_MS, silenceLimitMs: SILENCE_LIMIT_MS };
  const dataSource = createDataSource(connectionUrl, { poolSize, applicationName: 'broker-watcher', ...limits });
  return new DatabaseConnection(dataSource, {
    allowDataLoss: database.allowDataLoss,
    onRetry: (error, delayMs) => logger.warn('database not reachable, trying again', { reason: error.message, delayMs }),
  });
}

function partitionKeeper(repository: HistoryRepository): PartitionKeeper {
  return new PartitionKeeper((fromMs, toMs) => repository.ensurePartitions(fromMs, toMs), new Logger(PartitionKeeper.name));
}

/** Metrics first: the version, which tells how lines are worded, then comes before the first line. */
function mqttServer({ mqtt, maxUnacknowledged }: Readonly<BrokerWatcherConfig>, connection: DatabaseConnection): DeferredAckMqttServer {
  const clientId = () => mqtt.clientId;
  const filterMemory = new ReceiverFilters(connection, clientId);
  const routes: Route[] = [
    { name: METRICS_ROUTE, filters: METRICS_FILTERS, qos: 0 },
    { name: LOG_ROUTE, filters: LOG_FILTERS, qos: 1 },
  ];
  return new DeferredAckMqttServer({ settings: mqtt, clientId, routes, maxUnacknowledged, maxHeldBytes: MAX_HELD_BYTES, filterMemory });
}

/** Ready while subscribed; says what the broker's operator should change. */
function brokerCheck(server: DeferredAckMqttServer, keeper: WatchKeeper): ReadinessCheck {
  const check = (): CheckResult =>
    server.problem === undefined ? { ready: true, detail: { advice: keeper.advice } } : { ready: false, reason: server.problem };
  return { name: 'broker', check };
}

/** Ready while lines are stored. */
function recorderCheck(recorder: Recorder): ReadinessCheck {
  const check = (): CheckResult => (recorder.problem === undefined ? { ready: true } : { ready: false, reason: recorder.problem });
  return { name: 'recorder', check };
}
