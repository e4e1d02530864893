import { type Delivery, type Receipt, RedeliveryLedger } from '@tallystick/mqtt';
import { uuidv7 } from '@tallystick/persistence';
import { deviceKey } from '../batching/commit-plan.js';
import { DeviceAllowance } from '../devices/device-allowance.js';
import type { Rejection, TelemetryMessage } from '../intake/telemetry-message.js';

/** What is to be stored of what has arrived, and what is stored already. */
export interface Admitted {
  messages: TelemetryMessage[];
  rejections: Rejection[];
  /** Receipts of messages that are stored already, or will be with `messages`: acknowledged when those are committed. */
  duplicates: (Receipt | undefined)[];
}

/** What admission must ask the database. */
export interface AdmissionQueries {
  /** Of these deduplication keys (by keyHash), those under which a message is stored. */
  findStoredKeys(keyHashes: readonly string[]): Promise<ReadonlySet<string>>;
  /** Of these retained messages, those that are stored already with the same topic and payload. */
  findStored(messages: readonly (TelemetryMessage | Rejection)[]): Promise<ReadonlySet<TelemetryMessage | Rejection>>;
  /** Of these devices (by deviceKey), those without a row. */
  findNewDevices(messages: readonly TelemetryMessage[]): Promise<ReadonlySet<string>>;
}

/** Decides, just before a commit, what of it is new. By then every earlier commit of the lane is settled. */
export class Admission {
  constructor(
    private readonly queries: AdmissionQueries,
    /** Shared by all lanes. */
    private readonly ledger: RedeliveryLedger,
    /** Shared by all lanes. */
    private readonly allowance: DeviceAllowance,
  ) {}

  /**
   * Without the database: sorts out what the broker delivers again, and records the rest as delivered. Once for each message:
   * the caller keeps the result over retries.
   */
  sift(messages: readonly TelemetryMessage[], rejections: readonly Rejection[]): Admitted {
    const admitted: Admitted = { messages: [], rejections: [], duplicates: [] };
    for (const message of messages) {
      if (this.isRepeat(message, message.messageHash)) admitted.duplicates.push(message.receipt);
      else admitted.messages.push(message);
    }
    for (const rejection of rejections) {
      if (this.isRepeat(rejection, rejection.payloadHash)) admitted.duplicates.push(rejection.receipt);
      else admitted.rejections.push(rejection);
    }
    return admitted;
  }

  /**
   * With the database, whose errors it throws on: sorts out what is stored already by its deduplication key, retained messages that
   * are stored already, and devices beyond the allowance.
   */
  async check(sifted: Admitted, nowMs: number): Promise<Admitted> {
    return this.limitDevices(await this.withoutStoredRetained(await this.withoutStoredKeys(sifted)), nowMs);
  }

  /** Of messages with the same key the first is stored: one of an earlier commit, of whichever bridge, or the first of this commit. */
  async withoutStoredKeys({ messages, rejections, duplicates }: Admitted): Promise<Admitted> {
    const keyHashes = [...messages, ...rejections].flatMap(({ keyHash }) => keyHash ?? []);
    if (keyHashes.length === 0) return { messages, rejections, duplicates };
    const taken = new Set(await this.queries.findStoredKeys(keyHashes));
    const repeats: (Receipt | undefined)[] = [];
    const isFirst = ({ keyHash, receipt }: TelemetryMessage | Rejection): boolean => {
      if (keyHash === undefined) return true;
      const isTaken = taken.has(keyHash);
      if (isTaken) repeats.push(receipt);
      else taken.add(keyHash);
      return !isTaken;
    };
    return { messages: messages.filter(isFirst), rejections: rejections.filter(isFirst), duplicates: [...duplicates, ...repeats] };
  }

  /**
   * By the ledger, unless the message has a key, which is certain: what repeats a key leaves no row, so after a restart the last rows
   * may be so old that packet identifiers have come round since.
   */
  private isRepeat({ topic, receipt, keyHash }: TelemetryMessage | Rejection, payloadHash: string): boolean {
    if (!receipt) return false;
    const delivery: Delivery = { packetId: receipt.packetId, topic, payloadHash, connection: receipt.connection };
    const isRecorded = receipt.mayRepeat && this.ledger.takeRepeat(delivery);
    if (!isRecorded) this.ledger.record(delivery);
    return isRecorded && keyHash === undefined;
  }

  /** A broker sends a retained message again with every subscription it takes for new; it was published once. */
  private async withoutStoredRetained({ messages, rejections, duplicates }: Admitted): Promise<Admitted> {
    const retained = [...messages, ...rejections].filter((candidate) => candidate.retained);
    if (retained.length === 0) return { messages, rejections, duplicates };
    const stored = await this.queries.findStored(retained);
    return {
      messages: messages.filter((message) => !stored.has(message)),
      rejections: rejections.filter((rejection) => !stored.has(rejection)),
      duplicates: [...duplicates, ...[...stored].map((found) => found.receipt)],
    };
  }

  private async limitDevices({ messages, rejections, duplicates }: Admitted, nowMs: number): Promise<Admitted> {
    const refused = new Set<string>();
    const newDevices = await this.queries.findNewDevices(messages);
    if (newDevices.size === 0) return { messages, rejections, duplicates };
    // Replays come as fast as they are stored: of many, none would be left for the devices that send now.
    const sendNow = new Set(messages.filter(({ replayOf }) => replayOf === undefined).map(keyOfDevice));
    for (const key of newDevices) if (!this.allowance.take(nowMs, !sendNow.has(key))) refused.add(key);
    if (refused.size === 0) return { messages, rejections, duplicates };
    const isRefused = (message: TelemetryMessage) => refused.has(keyOfDevice(message));
    const limited = messages
      .filter(isRefused)
      .map((message) => refusal(message, 'device_limit', 'more new devices in a minute than MAX_NEW_DEVICES_PER_MINUTE'));
    return { messages: messages.filter((message) => !isRefused(message)), rejections: [...rejections, ...limited], duplicates };
  }
}

function keyOfDevice({ tenantId, deviceId }: TelemetryMessage): string {
  return deviceKey(tenantId, deviceId);
}

/** An accepted message on its way into quarantine after all. */
export function refusal(message: TelemetryMessage, reason: Rejection['reason'], detail: string): Rejection {
  const { topic, payload, qos, retained, receivedAtMs, receipt, keyHash, replayOf, tenantId, messageHash } = message;
  return {
    topic,
    payload,
    qos,
    retained,
    receivedAtMs,
    receipt,
    keyHash,
    replayOf,
    tenantId,
    reason,
    detail,
    payloadHash: messageHash,
    rejectionId: uuidv7(receivedAtMs),
  };
}
