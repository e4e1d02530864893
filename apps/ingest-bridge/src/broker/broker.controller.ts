import { Controller } from '@nestjs/common';
import { EventPattern, Payload, Transport } from '@nestjs/microservices';
import type { ReceivedPacket } from '@tallystick/mqtt';
import { BrokerWatch } from './broker-watch.js';

export const BROKER_ROUTE = 'broker';

/** What the broker says of itself in its $SYS topics. */
@Controller()
export class BrokerController {
  constructor(private readonly watch: BrokerWatch) {}

  @EventPattern<string>(BROKER_ROUTE, Transport.MQTT)
  noteDropped(@Payload() packets: ReceivedPacket[]): void {
    for (const { payload } of packets) this.watch.noteDropped(payload.toString());
  }
}
