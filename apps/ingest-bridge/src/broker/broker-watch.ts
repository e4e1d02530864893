import { Injectable, Logger } from '@nestjs/common';
import { DeferredAckMqttServer, SESSION_EXPIRY_S } from '@tallystick/mqtt';
import { Metrics } from '@tallystick/observability';
import { IngestBridgeConfig } from '../ingest-bridge.config.js';
import { brokerAdvice, DROPPED_ADVICE } from './broker-advice.js';

/** Looks at what the broker says of itself, and names what would lose messages, with the line that mends it. */
@Injectable()
export class BrokerWatch {
  private readonly logger = new Logger('Broker');
  private readonly droppedMessages;
  private dropped: number | undefined;
  private offerAdvice: string[] = [];
  private isDropping = false;

  constructor(server: DeferredAckMqttServer, config: IngestBridgeConfig, metrics: Metrics) {
    this.droppedMessages = metrics.gauge({
      name: 'mqtt_broker_dropped_messages',
      help: 'Messages that the broker took from publishers and dropped, as it says itself (Mosquitto only).',
    });
    const { maxUnacknowledged, maxPayloadBytes, sharedGroup, dedupKey } = config;
    const needs = { maxUnacknowledged, maxPayloadBytes, sharedGroup, dedupKey, sessionExpiryS: SESSION_EXPIRY_S };
    server.onOffer = (offer) => {
      this.offerAdvice = brokerAdvice(offer, needs);
      for (const advice of this.offerAdvice) this.logger.warn(advice);
    };
  }

  /** What the operator of the broker should change; shown by /health. */
  get advice(): string[] {
    return this.isDropping ? [...this.offerAdvice, DROPPED_ADVICE] : this.offerAdvice;
  }

  /** The count that the broker publishes when it changes, and once when we subscribe. */
  noteDropped(text: string): void {
    if (!/^\d{1,15}$/.test(text)) return;
    const dropped = Number(text);
    if (this.dropped !== undefined && dropped > this.dropped) {
      this.isDropping = true;
      this.logger.error(`${dropped - this.dropped} messages lost: ${DROPPED_ADVICE}`);
    }
    this.dropped = dropped;
    this.droppedMessages.set(dropped);
  }
}
