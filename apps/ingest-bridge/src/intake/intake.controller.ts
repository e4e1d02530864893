import { Controller } from '@nestjs/common';
import { EventPattern, Payload, Transport } from '@nestjs/microservices';
import type { ReceivedPacket } from '@tallystick/mqtt';
import { Lifecycle } from '@tallystick/observability';
import { Writer } from '../committing/writer.js';
import { IngestBridgeConfig } from '../ingest-bridge.config.js';
import { IngestMetrics } from '../ingest.metrics.js';
import { type IntakeRules, takeMessage } from './take-message.js';
import { rejection, telemetryMessage } from './telemetry-message.js';

export const TELEMETRY_ROUTE = 'telemetry';

/** The way in: everything that the broker delivers on the telemetry route goes to the writer, as a message or as a rejection. */
@Controller()
export class IntakeController {
  private readonly rules: IntakeRules;

  constructor(
    private readonly config: IngestBridgeConfig,
    private readonly writer: Writer,
    private readonly metrics: IngestMetrics,
    private readonly lifecycle: Lifecycle,
  ) {
    const { patterns, payloadFormat, maxPayloadBytes } = config;
    this.rules = { patterns, payloadFormat, maxPayloadBytes };
  }

  @EventPattern<string>(TELEMETRY_ROUTE, Transport.MQTT)
  takeAll(@Payload() packets: ReceivedPacket[]): void {
    try {
      this.metrics.countReceived(packets.length);
      if (this.config.dedupKey !== undefined) {
        this.metrics.countWithoutKey(packets.filter((packet) => packet.deduplicationKey === undefined).length);
      }
      for (const packet of packets) this.take(packet);
    } catch (error) {
      // Nest would log this and go on, and the messages would wait for their acknowledgement for ever.
      this.lifecycle.fail(error as Error);
    }
  }

  private take(packet: ReceivedPacket): void {
    const intake = takeMessage(packet.topic, packet.payload, this.rules);
    if (intake.kind === 'accepted') this.writer.take(telemetryMessage(packet, intake.content));
    else this.writer.quarantine(rejection(packet, intake));
  }
}
