import type { Scheduler } from './scheduler.js';

export interface Published {
  topic: string;
  payload: string;
  /** Its deduplication key. */
  key: string | undefined;
}

interface InFlight {
  packetId: number;
  published: Published;
  sent: boolean;
}

export interface SimulatedBrokerOptions {
  receiveMaximum: number;
  /** Packet identifiers go round in 1..this. */
  packetIds: number;
  /** Some brokers do not mark redeliveries with DUP. */
  setsDup: boolean;
}

/** What the broker tells the one client that is connected. */
export interface Subscriber {
  deliver(packetId: number, published: Published, duplicate: boolean): void;
}

/** A fake of an MQTT broker's side of one persistent QoS 1 session (MQTT 5 sections 4.1, 4.3.2, 4.4). */
export class SimulatedBroker {
  /** Acknowledged for the first and only time. */
  readonly acknowledged: Published[] = [];
  private queue: Published[] = [];
  private inFlight: InFlight[] = [];
  private nextPacketId = 1;
  private subscriber: Subscriber | undefined;

  constructor(
    private readonly scheduler: Scheduler,
    private readonly options: SimulatedBrokerOptions,
  ) {}

  get isEmpty(): boolean {
    return this.queue.length === 0 && this.inFlight.length === 0;
  }

  publish(published: Published): void {
    this.queue.push(published);
  }

  /** Returns `session present`. What was in flight is sent again before anything new, in the original order. */
  connect(subscriber: Subscriber): boolean {
    this.subscriber = subscriber;
    for (const delivery of this.inFlight) Object.assign(delivery, { sent: false, repeat: true });
    return true;
  }

  disconnect(): void {
    this.subscriber = undefined;
  }

  /** Sends up to a few messages. */
  pump(): void {
    if (!this.subscriber) return;
    for (let burst = this.scheduler.below(4); burst >= 0; burst--) {
      const repeat = this.inFlight.find((delivery) => !delivery.sent);
      if (repeat) {
        repeat.sent = true;
        this.subscriber.deliver(repeat.packetId, repeat.published, this.options.setsDup);
      } else if (this.queue.length > 0 && this.inFlight.length < this.options.receiveMaximum) {
        const delivery = { packetId: this.takePacketId(), published: this.queue.shift()!, sent: true };
        this.inFlight.push(delivery);
        this.subscriber.deliver(delivery.packetId, delivery.published, false);
      }
    }
  }

  /** An acknowledgement arrives. One that answers nothing in flight would be a protocol error of the bridge. */
  puback(packetId: number): void {
    const at = this.inFlight.findIndex((delivery) => delivery.packetId === packetId && delivery.sent);
    if (at === -1) throw new Error(`PUBACK ${packetId} answers nothing that is in flight`);
    this.acknowledged.push(this.inFlight.splice(at, 1)[0]!.published);
  }

  private takePacketId(): number {
    while (this.inFlight.some((delivery) => delivery.packetId === this.nextPacketId)) this.advance();
    const packetId = this.nextPacketId;
    this.advance();
    return packetId;
  }

  private advance(): void {
    this.nextPacketId = (this.nextPacketId % this.options.packetIds) + 1;
  }
}
