const PUBACK = 0x40;
const PUBACK_SIZE_BYTES = 4;

/** The claim to one acknowledgement: settled when its message is stored, or when nobody waits for it. */
export interface Receipt {
  readonly packetId: number;
  /** The connection on which the message arrived. */
  readonly window: AcknowledgementWindow;
  settled: boolean;
}

/**
 * The QoS 1 deliveries of one connection that are not acknowledged yet, in order of receipt. A new connection needs a new
 * window: the broker reuses packet identifiers, and an acknowledgement carried over would confirm a message not yet stored.
 */
export class AcknowledgementWindow {
  private held: Receipt[] = [];
  private head = 0;

  get size(): number {
    return this.held.length - this.head;
  }

  hold(packetId: number): Receipt {
    const receipt: Receipt = { packetId, window: this, settled: false };
    this.held.push(receipt);
    return receipt;
  }

  /**
   * The PUBACK packets that may be sent now: settled receipts up to the first unsettled one, because acknowledgements leave in
   * the order in which the messages came (MQTT 5 section 4.6). The 4-byte form means success in 3.1.1 and in 5 (section 3.4.2.1).
   */
  takeSettled(): Buffer {
    let end = this.head;
    while (end < this.held.length && this.held[end]!.settled) end++;
    const packets = Buffer.allocUnsafe((end - this.head) * PUBACK_SIZE_BYTES);
    for (let at = 0; this.head < end; this.head++, at += PUBACK_SIZE_BYTES) {
      packets[at] = PUBACK;
      packets[at + 1] = 2;
      packets.writeUInt16BE(this.held[this.head]!.packetId, at + 2);
    }
    if (this.head > this.held.length / 2) {
      this.held = this.held.slice(this.head);
      this.head = 0;
    }
    return packets;
  }
}
