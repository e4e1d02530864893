import { setImmediate as nextTurn } from 'node:timers/promises';
import type { MqttSettings } from '@tallystick/config';
import { type CustomTransportStrategy, MqttContext, ServerMqtt } from '@nestjs/microservices';
import { connect, type IConnackPacket, type IPublishPacket, type ISubscriptionGrant, type MqttClient } from 'mqtt';
import { AcknowledgementWindow, type Receipt } from './acknowledgement-window.js';
import { connectOptions, protocolOptions, reconnectDelayMs } from './connect-options.js';
import { topicMatches } from './topic-filter.js';

/** The handler `@EventPattern('<name>')` gets the packets of its filters, as `ReceivedPacket[]`, in order of receipt. */
export interface Route {
  name: string;
  filters: readonly string[];
  qos: 0 | 1;
}

export interface ReceivedPacket {
  topic: string;
  payload: Buffer;
  qos: number;
  retained: boolean;
  /** The broker says it sent this before. */
  duplicate: boolean;
  /** Unix time in ms of receipt. */
  receivedAtMs: number;
  /** Undefined for QoS 0: nobody waits for an acknowledgement. */
  receipt: Receipt | undefined;
}

export interface DeferredAckOptions {
  settings: MqttSettings;
  routes: readonly Route[];
  /** Most deliveries that the broker may have in flight to us; sent as Receive Maximum. */
  maxUnacknowledged: number;
}

/** What mqtt.js takes for "no acknowledgement now": an error as the outcome of handleMessage. It goes nowhere else. */
const DEFERRED = new Error('the acknowledgement is deferred until the message is stored');

/** CONNACK codes that say "not this protocol version": 0x84 in MQTT 5, 1 in 3.1.1. */
const UNSUPPORTED_VERSION_CODES = [0x84, 1];

/**
 * The Nest MQTT transport, but acknowledging only what its user has stored. mqtt.js sends PUBACK as soon as its own
 * handleMessage calls back without an error; here that never happens. The PUBACK is written by `acknowledge`, in order of
 * receipt, and only on the connection on which the message came. Contract with mqtt.js: deferred-ack.server.integration-spec.ts.
 *
 * Packets reach the handlers raw and in arrays, one array per turn of the event loop: Nest's own way decodes every payload
 * as JSON, damages some, and costs three to four times as much.
 */
export class DeferredAckMqttServer extends ServerMqtt implements CustomTransportStrategy {
  private window = new AcknowledgementWindow();
  private arrived: ReceivedPacket[] = [];
  private handingOver = false;
  /** The unanswered callback of one packet: while it is kept, mqtt.js reads nothing more. */
  private resumeReading: (() => void) | undefined;
  private stopped = false;
  private failures = 0;
  private subscribed = false;
  /** Why no messages can arrive; undefined while subscribed. */
  problem: string | undefined = 'not connected yet';

  constructor(private readonly deferred: DeferredAckOptions) {
    super({ url: deferred.settings.url });
  }

  get unacknowledged(): number {
    return this.window.size;
  }

  get connected(): boolean {
    return (this.mqttClient as MqttClient | undefined)?.connected ?? false;
  }

  override createMqttClient(): Promise<MqttClient> {
    const { settings, maxUnacknowledged } = this.deferred;
    const client = connect(settings.url, connectOptions(settings, maxUnacknowledged));
    client.handleMessage = (packet, done) => this.receive(client, packet, done);
    client.on('connect', (connack) => this.onConnect(client, connack));
    // Before mqtt.js' own listener, which reads the delay.
    client.prependListener('close', () => this.onClose(client));
    client.on('disconnect', (packet) => (this.problem = `the broker ended the connection (reason ${packet.reasonCode ?? 0})`));
    return Promise.resolve(client);
  }

  /** Nothing is bound per pattern: `receive` is the only way in, and `onConnect` subscribes to the routes. */
  override bindEvents(): void {}

  override registerErrorListener(client: MqttClient): void {
    client.on('error', (error: Error & { code?: unknown }) => {
      this.problem = error.message || String(error.code);
      this.logger.warn(`broker: ${this.problem}`);
      if (this.deferred.settings.protocolVersion === 'auto' && client.options.protocolVersion === 5 && refusesVersion(error)) {
        this.logger.log('the broker does not speak MQTT 5; trying 3.1.1');
        Object.assign(client.options, protocolOptions(4, this.deferred.maxUnacknowledged));
      }
    });
  }

  /** Marks messages as stored and sends the acknowledgements that are due. Those of an earlier connection are dropped. */
  acknowledge(receipts: Iterable<Receipt | undefined>): void {
    for (const receipt of receipts) if (receipt) receipt.settled = true;
    const packets = this.window.takeSettled();
    const client = this.mqttClient as MqttClient | undefined;
    if (packets.length > 0 && client?.connected) client.stream.write(packets);
    if (this.resumeReading && !this.stopped && this.window.size < this.readingLimit()) this.letReadingGoOn();
  }

  /** Takes no more packets and resolves when all that were taken are with their handlers; they can still be acknowledged. */
  async stopReading(): Promise<void> {
    this.stopped = true;
    while (this.arrived.length > 0 || this.handingOver) await nextTurn();
  }

  /** Sends DISCONNECT behind the last acknowledgement; the broker keeps the session. */
  // eslint-disable-next-line @typescript-eslint/no-misused-promises -- declared void, but Nest awaits it
  override async close(): Promise<void> {
    this.stopped = true;
    await (this.mqttClient as MqttClient | undefined)?.endAsync();
  }

  private receive(client: MqttClient, packet: IPublishPacket, done: (error?: Error) => void): void {
    // Left over from a connection that is gone: the broker sends it again.
    if (!client.connected) return done(DEFERRED);
    if (this.stopped) return; // mqtt.js reads on only after `done`
    this.arrived.push({
      topic: packet.topic,
      payload: packet.payload as Buffer,
      qos: packet.qos,
      retained: packet.retain,
      duplicate: packet.dup,
      receivedAtMs: Date.now(),
      receipt: packet.qos === 0 ? undefined : this.window.hold(packet.messageId!),
    });
    if (this.arrived.length === 1) setImmediate(() => void this.handOver());
    // Mosquitto 2.0 exceeds the Receive Maximum while acknowledgements flow, so reading stops at twice that and not at once:
    // with equal marks the keepalive starves.
    if (this.window.size >= this.readingLimit()) this.resumeReading = () => done(DEFERRED);
    else done(DEFERRED);
  }

  private readingLimit(): number {
    return 2 * this.deferred.maxUnacknowledged;
  }

  private letReadingGoOn(): void {
    const resume = this.resumeReading;
    this.resumeReading = undefined;
    resume?.();
  }

  /** Gives what has arrived to the handlers, each route's packets in one array; one array at a time, so that order holds. */
  private async handOver(): Promise<void> {
    if (this.handingOver) return;
    this.handingOver = true;
    const { routes } = this.deferred;
    while (this.arrived.length > 0) {
      const packets = this.arrived;
      this.arrived = [];
      for (const route of routes) {
        const own = routes.length === 1 ? packets : packets.filter((packet) => this.routeOf(packet.topic) === route);
        if (own.length > 0) await this.handleEvent(route.name, { pattern: route.name, data: own }, new MqttContext([route.name, {}]));
      }
    }
    this.handingOver = false;
  }

  private routeOf(topic: string): Route | undefined {
    return this.deferred.routes.find((route) => route.filters.some((filter) => topicMatches(filter, topic)));
  }

  private onConnect(client: MqttClient, connack: IConnackPacket): void {
    this.failures = 0;
    // A resumed session still has the subscriptions that this process made; subscribing again would replay retained messages.
    if (connack.sessionPresent && this.subscribed) return void (this.problem = undefined);
    this.problem = 'not subscribed yet';
    void this.subscribe(client);
  }

  private async subscribe(client: MqttClient): Promise<void> {
    for (const { filters, qos } of this.deferred.routes) {
      try {
        // Retain handling 1: retained messages only with a subscription that is new to the broker (MQTT 5 section 3.8.3.1).
        const grants: ISubscriptionGrant[] = await client.subscribeAsync([...filters], { qos, rh: 1 });
        const refused = grants.find((grant) => grant.qos >= 128);
        if (refused) throw new Error(`reason ${refused.qos} for ${refused.topic}`);
      } catch (error) {
        this.problem = `the broker refused the subscription to ${filters.join(', ')}: ${(error as Error).message}`;
        this.logger.error(this.problem);
        return;
      }
    }
    this.subscribed = true;
    this.problem = undefined;
  }

  private onClose(client: MqttClient): void {
    // Acknowledgements do not outlive their connection: the broker redelivers, and its packet identifiers start anew.
    this.window = new AcknowledgementWindow();
    this.resumeReading = undefined;
    this.problem ??= 'the connection to the broker is lost';
    client.options.reconnectPeriod = reconnectDelayMs(this.failures++);
  }
}

function refusesVersion(error: Error & { code?: unknown }): boolean {
  return typeof error.code === 'number' && UNSUPPORTED_VERSION_CODES.includes(error.code);
}
