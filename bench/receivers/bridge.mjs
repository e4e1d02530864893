// The bridge's way in, without a database. RECEIVER=transport: DeferredAckMqttServer under Nest, whose handler acknowledges at once.
// RECEIVER=intake: the bridge's intake controller and writer as they are (checks, hashes, batches with their trees, the order of
// acknowledgements), with a store that keeps nothing.
import 'reflect-metadata';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventPattern, Payload, Transport } from '@nestjs/microservices';
import { Writer } from '../../dist/apps/ingest-bridge/src/committing/writer.js';
import { IngestMetrics } from '../../dist/apps/ingest-bridge/src/ingest.metrics.js';
import { IngestBridgeConfig } from '../../dist/apps/ingest-bridge/src/ingest-bridge.config.js';
import { IntakeController, TELEMETRY_ROUTE } from '../../dist/apps/ingest-bridge/src/intake/intake.controller.js';
import { loadConfig } from '../../dist/libs/config/src/index.js';
import { DeferredAckMqttServer, RedeliveryLedger } from '../../dist/libs/mqtt/src/index.js';
import { Lifecycle, ObservabilityModule } from '../../dist/libs/observability/src/index.js';
import { noteDone, startAtFirstMessage } from './receiver.mjs';

const config = loadConfig(IngestBridgeConfig, { ...process.env, DATABASE_HOST: 'none' });
const withIntake = process.env.RECEIVER === 'intake';

/** The bridge's transport, which tells when messages come and when they are acknowledged. */
class CountedServer extends DeferredAckMqttServer {
  async createMqttClient() {
    const client = await super.createMqttClient();
    startAtFirstMessage(client);
    return client;
  }

  acknowledge(receipts) {
    super.acknowledge(receipts);
    noteDone(receipts.length);
  }
}

const server = new CountedServer({
  settings: config.mqtt,
  routes: [{ name: TELEMETRY_ROUTE, filters: config.filters, qos: 1 }],
  maxUnacknowledged: config.maxUnacknowledged,
  maxHeldBytes: 64 * 1024 * 1024,
  filterMemory: { load: () => Promise.resolve([]), save: () => Promise.resolve() },
});

/** Acknowledges and nothing else. */
class TransportController {
  takeAll(packets) {
    server.acknowledge(packets.map(({ receipt }) => receipt));
  }
}
const takeAll = Object.getOwnPropertyDescriptor(TransportController.prototype, 'takeAll');
EventPattern(TELEMETRY_ROUTE, Transport.MQTT)(TransportController.prototype, 'takeAll', takeAll);
Payload()(TransportController.prototype, 'takeAll', 0);
Controller()(TransportController);

/** Everything is stored at once, every device is known, nothing was stored before. */
const nullStore = {
  commit: () => Promise.resolve(),
  hasLanded: () => Promise.resolve(false),
  ensurePartitions: () => Promise.resolve([]),
  forgetDevices: () => undefined,
  assertEpoch: () => Promise.resolve(),
  findStoredKeys: () => Promise.resolve(new Set()),
  findStored: () => Promise.resolve(new Set()),
  findNewDevices: () => Promise.resolve(new Set()),
};
const redeliveries = { ledger: new RedeliveryLedger(2 * config.maxUnacknowledged) };

class ReceiverModule {}
Module({
  imports: [ObservabilityModule.forRoot()],
  controllers: [withIntake ? IntakeController : TransportController],
  providers: [
    { provide: IngestBridgeConfig, useValue: config },
    IngestMetrics,
    {
      provide: Writer,
      useFactory: (metrics, lifecycle) => new Writer(nullStore, redeliveries, server, metrics, config, lifecycle),
      inject: [IngestMetrics, Lifecycle],
    },
  ],
})(ReceiverModule);

const app = await NestFactory.createMicroservice(ReceiverModule, { strategy: server, logger: ['error', 'warn'] });
if (withIntake) app.get(Writer).start();
await app.listen();
