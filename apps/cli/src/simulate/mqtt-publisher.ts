import type { MqttSettings } from '@tallystick/config';
import type { IConnackPacket, MqttClient, Packet } from 'mqtt';
import { connectToBroker } from './broker-connection.js';
import type { OutgoingMessage } from './fleet.js';
import type { PublishCounts } from './simulation-result.js';

/** Most publishes without an acknowledgement: enough that a round trip does not slow 20,000/s, few enough for any memory. */
const MAX_IN_FLIGHT = 1_000;
/** MQTT 5 sections 3.4.2.1 and 3.5.2.1: taken, but nobody is subscribed. */
const NO_MATCHING_SUBSCRIBERS = 0x10;

/**
 * Publishes for all devices on one connection, as a gateway does for the meters behind it: who a device is stands in topic and
 * payload, the record does not look at connections, and 100,000 of them would try the broker's file descriptors and not the
 * record. One is fast enough, too: the time goes into making and encoding messages, which a second connection would not share.
 */
export class MqttPublisher {
  readonly counts: PublishCounts = { published: 0, acknowledged: 0, refused: 0, withoutSubscriber: 0 };
  /** Why nothing can be published now; undefined while connected. */
  problem: string | undefined;
  private maxInFlight = MAX_IN_FLIGHT;
  /** When the oldest thing waited for began or the last answer came, in ms of performance.now(). */
  private quietSinceMs = 0;
  private wake: (() => void) | undefined;

  private constructor(
    private readonly client: MqttClient,
    connack: IConnackPacket,
    private readonly qos: 1 | 2,
  ) {
    this.onConnect(connack);
    // mqtt.js sends again what is unacknowledged before it emits `connect`; what is published meanwhile might never be sent.
    client.on('connect', (again) => this.onConnect(again));
    client.on('close', () => this.onClose('the connection to the broker is lost'));
    // The acknowledgement itself: what mqtt.js hands to the callback of publish is the message.
    client.on('packetreceive', (packet) => this.onPacket(packet));
    // Without a `close` an error changes nothing: what is in flight is still answered.
    client.on('error', (error) => (this.problem &&= error.message || String((error as { code?: unknown }).code)));
  }

  static async connect(settings: MqttSettings, clientId: string, qos: 1 | 2): Promise<MqttPublisher> {
    const { client, connack } = await connectToBroker(settings, clientId);
    return new MqttPublisher(client, connack, qos);
  }

  get protocolName(): string {
    return this.client.options.protocolVersion === 5 ? 'MQTT 5' : 'MQTT 3.1.1';
  }

  get inFlight(): number {
    return this.counts.published - this.counts.acknowledged - this.counts.refused;
  }

  /** How many may be published now. */
  get room(): number {
    return this.problem === undefined ? Math.max(0, this.maxInFlight - this.inFlight) : 0;
  }

  /** How long the broker has owed us an answer, or has been away; 0 when nothing is waited for. */
  get quietMs(): number {
    return this.inFlight > 0 || this.problem !== undefined ? performance.now() - this.quietSinceMs : 0;
  }

  /** Only with `room`: the bound on memory is kept by the caller. */
  publish({ topic, payload }: OutgoingMessage): void {
    if (this.inFlight === 0) this.quietSinceMs = performance.now();
    this.counts.published += 1;
    this.client.publish(topic, payload, { qos: this.qos }, (error) => this.onAnswer(error));
  }

  /** Resolves at the next answer of the broker, when it is back, at the signal, or after this time. One caller at a time. */
  change(timeoutMs: number, stop?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const settle = () => {
        clearTimeout(timer);
        stop?.removeEventListener('abort', settle);
        this.wake = undefined;
        resolve();
      };
      const timer = setTimeout(settle, timeoutMs);
      stop?.addEventListener('abort', settle, { once: true });
      this.wake = settle;
    });
  }

  /** Says goodbye if the broker is there; answers that come later are not counted. */
  async close(): Promise<void> {
    await this.client.endAsync(this.inFlight > 0 || this.problem !== undefined);
  }

  private onConnect(connack: IConnackPacket): void {
    this.problem = undefined;
    // A client must not exceed it (MQTT 5 section 4.9), and mqtt.js does not look at it.
    this.maxInFlight = Math.min(MAX_IN_FLIGHT, connack.properties?.receiveMaximum ?? MAX_IN_FLIGHT);
    this.wake?.();
  }

  private onClose(problem: string): void {
    if (this.problem === undefined && this.inFlight === 0) this.quietSinceMs = performance.now();
    this.problem ??= problem;
  }

  /** PUBACK answers QoS 1, PUBREC is the first answer to QoS 2; both carry the reason. */
  private onPacket(packet: Packet): void {
    if ((packet.cmd === 'puback' || packet.cmd === 'pubrec') && packet.reasonCode === NO_MATCHING_SUBSCRIBERS) {
      this.counts.withoutSubscriber += 1;
    }
  }

  private onAnswer(error: (Error & { code?: unknown }) | undefined | null): void {
    // Ended by us with answers outstanding.
    if (error && typeof error.code !== 'number') return;
    this.quietSinceMs = performance.now();
    if (error) {
      this.counts.refused += 1;
      this.counts.refusal ??= error.message;
    } else {
      this.counts.acknowledged += 1;
    }
    this.wake?.();
  }
}
