const PUBACK = 0x40;
const PUBACK_SIZE_BYTES = 4;

/** The claim to one acknowledgement: settled when its message is stored, or when nobody waits for it. */
export interface Receipt {
  readonly packetId: number;
  readonly sizeBytes: number;
  /** Number of the connection on which the message arrived, from 1. */
  readonly connection: number;
  /** The broker may have delivered the message on an earlier connection, so it may be stored already. */
  readonly mayRepeat: boolean;
  settled: boolean;
}

/**
 * The QoS 1 deliveries of one connection that are not acknowledged yet, in order of receipt. A new connection needs a new
 * window: the broker reuses packet identifiers, and an acknowledgement carried over would confirm a message not yet stored.
 */
export class AcknowledgementWindow {
  private held: Receipt[] = [];
  private head = 0;
  private heldBytes = 0;
  private received = 0;

  /** `resumed`: the broker kept the session, and may send again what an earlier connection left unacknowledged. */
  constructor(
    readonly connection = 0,
    private readonly resumed = false,
    private readonly receiveMaximum = 0,
  ) {}

  get size(): number {
    return this.held.length - this.head;
  }

  /** Those whose messages are still being stored. */
  get unsettled(): Receipt[] {
    return this.held.slice(this.head).filter((receipt) => !receipt.settled);
  }

  /** What the messages held have of payload and topic. */
  get sizeBytes(): number {
    return this.heldBytes;
  }

  /**
   * Takes note of a delivery. One with DUP set may be a repeat (MQTT 5 section 3.3.1.1), and so may any of the first window after
   * a reconnect: not every broker sets DUP.
   */
  hold(packetId: number, sizeBytes = 0, duplicate = false): Receipt {
    const mayRepeat = this.resumed && (duplicate || this.received < this.receiveMaximum);
    const receipt: Receipt = { packetId, sizeBytes, connection: this.connection, mayRepeat, settled: false };
    this.held.push(receipt);
    this.received += 1;
    this.heldBytes += sizeBytes;
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
      const { packetId, sizeBytes } = this.held[this.head]!;
      packets.writeUInt16BE(packetId, at + 2);
      this.heldBytes -= sizeBytes;
    }
    if (this.head > this.held.length / 2) {
      this.held = this.held.slice(this.head);
      this.head = 0;
    }
    return packets;
  }
}
