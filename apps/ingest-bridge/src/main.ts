import type { INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { DeferredAckMqttServer } from '@tallystick/mqtt';
import { ExpressServer, runApp } from '@tallystick/observability';
import { DatabaseConnection, PartitionKeeper } from '@tallystick/persistence';
import { KeyExpiry } from './committing/key-expiry.js';
import { TelemetryRepository } from './committing/telemetry.repository.js';
import { Writer } from './committing/writer.js';
import { IngestBridgeConfig } from './ingest-bridge.config.js';
import { QuarantineKeeper } from './quarantine/quarantine-keeper.js';
import { QuarantineReplay } from './quarantine/quarantine-replay.js';
import { BatchRecovery } from './recovery/batch-recovery.js';
import { Redeliveries } from './recovery/redeliveries.js';
import { IngestBridgeModule } from './ingest-bridge.module.js';
import { AbandonedSlots } from './slots/abandoned-slots.js';
import { drain, slotToDrain } from './slots/drain.js';
import { SlotHolder } from './slots/slot-holder.js';

/** What the process before left: its open batches are sealed, and what it may not have acknowledged is remembered. */
async function recover(app: INestApplication): Promise<void> {
  await app.get(DatabaseConnection).retry(async () => {
    await app.get(TelemetryRepository).beginEpoch();
    await app.get(BatchRecovery).recoverOwn();
    await app.get(Redeliveries).load();
  });
  app.get(BatchRecovery).startSweeping();
}

/** Of the 10 s that a shutdown may take, what storing and sealing may use. */
const DRAIN_LIMIT_MS = 7_000;

const draining = slotToDrain(process.argv);

await runApp({
  name: 'ingest-bridge',
  // By itself V8 waits for hundreds of MB before it collects. At full rate 209 MB instead of 339, for the same CPU time.
  v8Options: ['--heap-growing-percent=50'],
  config: IngestBridgeConfig,
  create: async (config, options) => {
    const app = await NestFactory.create(IngestBridgeModule.forRoot(config), new ExpressServer(), options);
    app.connectMicroservice({ strategy: app.get(DeferredAckMqttServer) });
    return app;
  },
  afterListen: async (app) => {
    await app.get(DatabaseConnection).connect();
    // Another bridge has it by now, and receives what it holds.
    if (!(await app.get(SlotHolder).claim(draining))) return void process.kill(process.pid, 'SIGTERM');
    await app.get(PartitionKeeper).start();
    app.get(QuarantineKeeper).start();
    await recover(app);
    app.get(KeyExpiry).start();
    app.get(Writer).start();
    app.get(QuarantineReplay).start();
    // Only now: the first message needs the database. Not awaited: it settles only when the broker answers.
    void app.startAllMicroservices();
    if (draining === undefined) app.get(AbandonedSlots).start();
    else await drain(app);
  },
  drain: async (app) => {
    app.get(QuarantineReplay).stop();
    await app.get(DeferredAckMqttServer).stopReading();
    await app.get(Writer).drain(DRAIN_LIMIT_MS);
  },
});
