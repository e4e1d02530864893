import { NestFactory } from '@nestjs/core';
import { DeferredAckMqttServer } from '@tallystick/mqtt';
import { ExpressServer, runApp } from '@tallystick/observability';
import { DatabaseConnection, PartitionKeeper } from '@tallystick/persistence';
import { BrokerWatcherConfig } from './broker-watcher.config.js';
import { BrokerWatcherModule } from './broker-watcher.module.js';
import { WatchKeeper } from './gaps/watch-keeper.js';
import { Recorder } from './recording/recorder.js';
import { MetricsKeeper } from './sys-metrics/metrics-keeper.js';
import { MetricsWriter } from './sys-metrics/metrics-writer.js';

/** Of the 10 s that a shutdown may take, what storing may use. */
const DRAIN_LIMIT_MS = 6_000;

await runApp({
  name: 'broker-watcher',
  // By itself V8 waits for hundreds of MB before it collects. At 4,000 lines/s 183 MB instead of 242.
  v8Options: ['--heap-growing-percent=50'],
  config: BrokerWatcherConfig,
  create: async (config, options) => {
    const app = await NestFactory.create(BrokerWatcherModule.forRoot(config), new ExpressServer(), options);
    app.connectMicroservice({ strategy: app.get(DeferredAckMqttServer) });
    return app;
  },
  afterListen: async (app) => {
    const connection = app.get(DatabaseConnection);
    await connection.connect();
    await app.get(PartitionKeeper).start();
    // What the process before left, before anything new is received.
    await connection.retry(async () => {
      await app.get(Recorder).load();
      await app.get(WatchKeeper).load();
    });
    app.get(Recorder).start();
    app.get(MetricsWriter).start();
    app.get(MetricsKeeper).start();
    app.get(WatchKeeper).start();
    // Not awaited: it settles only when the broker answers.
    void app.startAllMicroservices();
  },
  drain: async (app) => {
    await app.get(DeferredAckMqttServer).stopReading();
    await app.get(Recorder).drain(DRAIN_LIMIT_MS);
    await app.get(MetricsWriter).write();
    await app.get(WatchKeeper).keep();
  },
});
