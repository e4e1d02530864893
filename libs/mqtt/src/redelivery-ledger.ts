import { hash } from 'node:crypto';

/** One QoS 1 delivery, as the ledger knows it. */
export interface Delivery {
  packetId: number;
  /** Or, when it has more than LONGEST_TOPIC_BYTES, `#` and its SHA-256 in hex. */
  topic: string;
  /** SHA-256 of the payload, hex. */
  payloadHash: string;
  /** Number of the connection on which it came; what the database remembers of an earlier process has 0. */
  connection: number;
}

/**
 * The last deliveries that were stored or quarantined, so that one which the broker sends again is not stored again. A broker
 * keeps packet identifier, topic and payload when it redelivers, and redelivers on a later connection only; a lookup by payload
 * alone would swallow a device that says `{"state":"off"}` twice. Holds `capacity` entries and forgets the oldest.
 */
export class RedeliveryLedger {
  /** By key, the connections on which a delivery of that key was last seen, oldest first. */
  private readonly seen = new Map<string, number[]>();
  private oldest: string[] = [];
  private head = 0;

  constructor(private readonly capacity: number) {}

  get size(): number {
    return this.oldest.length - this.head;
  }

  record(delivery: Delivery): void {
    const key = keyOf(delivery);
    const connections = this.seen.get(key);
    if (connections) connections.push(delivery.connection);
    else this.seen.set(key, [delivery.connection]);
    this.oldest.push(key);
    if (this.size > this.capacity) this.forgetOldest();
  }

  /**
   * Whether the delivery repeats a recorded one of an earlier connection. Each entry matches once a connection; the repeat may
   * itself be repeated later, because its acknowledgement can be lost like the first one's.
   */
  takeRepeat(delivery: Delivery): boolean {
    const connections = this.seen.get(keyOf(delivery));
    const at = connections?.findIndex((connection) => connection < delivery.connection) ?? -1;
    if (!connections || at === -1) return false;
    connections.splice(at, 1);
    connections.push(delivery.connection);
    return true;
  }

  private forgetOldest(): void {
    const key = this.oldest[this.head++]!;
    const connections = this.seen.get(key)!;
    connections.shift();
    if (connections.length === 0) this.seen.delete(key);
    if (this.head > this.oldest.length / 2) {
      this.oldest = this.oldest.slice(this.head);
      this.head = 0;
    }
  }
}

/** Topics of more bytes are remembered by their hash. */
export const LONGEST_TOPIC_BYTES = 255;

/**
 * A topic as the ledger remembers it: strangers choose topics, and one has up to 64 KiB. `#` is in no topic that is published to
 * (MQTT 5 section 4.7.1), so none is taken for another, and what has been shortened stays as it is.
 */
function remembered(topic: string): string {
  return Buffer.byteLength(topic) > LONGEST_TOPIC_BYTES ? `#${hash('sha256', topic, 'hex')}` : topic;
}

function keyOf({ packetId, payloadHash, topic }: Delivery): string {
  return `${packetId} ${payloadHash} ${remembered(topic)}`;
}
