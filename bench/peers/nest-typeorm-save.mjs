// A Nest microservice on the MQTT transport with @EventPattern and repository.save of TypeORM, the entities being the product's.
// Nest does not tie the acknowledgement to the handler: what waits for the pool is lost when the process dies.
import 'reflect-metadata';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Ctx, EventPattern, Payload, Transport } from '@nestjs/microservices';
import { DataSource } from 'typeorm';
import { Batch, Device, Message, Receiver, RejectedMessage } from '../../dist/libs/persistence/src/index.js';
import { RowMaker, settings } from './rows.mjs';

const dataSource = new DataSource({
  type: 'postgres',
  url: settings.databaseUrl,
  entities: [Device, Batch, Message, RejectedMessage, Receiver],
  synchronize: false,
  installExtensions: false,
});
await dataSource.initialize();
const messages = dataSource.getRepository(Message);
const rows = new RowMaker((text, values) => dataSource.query(text, values));
await rows.start();

class TelemetryController {
  async store(data, context) {
    const packet = context.getPacket();
    const row = rows.rowOf(context.getTopic(), packet.payload, data, packet);
    await rows.device(row);
    await messages.save(row);
  }
}

class TelemetryModule {}

// Decorators, applied by hand because this is plain JavaScript.
const store = Object.getOwnPropertyDescriptor(TelemetryController.prototype, 'store');
EventPattern(settings.topicFilter, Transport.MQTT)(TelemetryController.prototype, 'store', store);
Payload()(TelemetryController.prototype, 'store', 0);
Ctx()(TelemetryController.prototype, 'store', 1);
Controller()(TelemetryController);
Module({ controllers: [TelemetryController] })(TelemetryModule);

const app = await NestFactory.createMicroservice(TelemetryModule, {
  transport: Transport.MQTT,
  options: { url: settings.mqttUrl, clientId: settings.clientId, clean: false, subscribeOptions: { qos: 1 } },
  logger: ['error', 'warn'],
});
await app.listen();
