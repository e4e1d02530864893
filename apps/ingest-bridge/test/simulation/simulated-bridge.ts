import { AcknowledgementWindow, type Receipt, RedeliveryLedger } from '@tallystick/mqtt';
import type { BatchingRules } from '../../src/batching/commit-plan.js';
import { Admission } from '../../src/committing/admission.js';
import type { LaneClock } from '../../src/committing/lane-clock.js';
import { WriterLane } from '../../src/committing/writer-lane.js';
import { DeviceAllowance } from '../../src/devices/device-allowance.js';
import { takeMessage } from '../../src/intake/take-message.js';
import { rejection, telemetryMessage } from '../../src/intake/telemetry-message.js';
import { parseTopicPattern } from '../../src/intake/topic-pattern.js';
import type { Scheduler } from './scheduler.js';
import type { Published, SimulatedBroker } from './simulated-broker.js';
import type { SimulatedDatabase } from './simulated-database.js';

const parsed = parseTopicPattern('veep/+/+/+/data');
const intakeRules = { patterns: parsed.kind === 'pattern' ? [parsed.pattern] : [], payloadFormat: 'json' as const, maxPayloadBytes: 1000 };
const batching: BatchingRules = { batchSize: 5, batchBytes: 1e9, batchTimeoutMs: 1_000, mostOpenBatches: 2 };

/**
 * One process of the bridge: the real intake, batching, ledger, window and lane, put together as main.ts, Writer and
 * DeferredAckMqttServer do, between the simulated broker and the simulated database.
 */
export class SimulatedBridge {
  private window = new AcknowledgementWindow();
  private connections = 0;
  private connected = false;
  private isolated = false;
  private lane: WriterLane | undefined;
  private acknowledging = Promise.resolve();
  /** A lane must never end by itself. */
  broken: Error | undefined;

  constructor(
    private readonly process: number,
    private readonly scheduler: Scheduler,
    private readonly broker: SimulatedBroker,
    private readonly database: SimulatedDatabase,
    private readonly receiveMaximum: number,
  ) {}

  async start(): Promise<void> {
    const epoch = await this.insist(() => this.database.beginEpoch(this.process));
    await this.insist(() => this.database.recoverPending(this.process));
    await this.scheduler.later(this.process);
    const ledger = new RedeliveryLedger(2 * this.receiveMaximum);
    for (const delivery of this.database.delivered.slice(-2 * this.receiveMaximum)) ledger.record({ ...delivery, connection: 0 });
    const queries = {
      findStoredKeys: (keyHashes: readonly string[]) => this.database.findStoredKeys(this.process, keyHashes),
      findStored: () => Promise.resolve(new Set<never>()),
      findNewDevices: () => Promise.resolve(new Set<string>()),
    };
    const admission = new Admission(queries, ledger, new DeviceAllowance(1e9));
    const clock: LaneClock = {
      nowMs: () => this.scheduler.nowMs,
      unixMs: () => 1_795_300_000_000 + this.scheduler.nowMs,
      sleep: () => this.scheduler.later(this.process),
      random: () => 0.5,
    };
    const lane = new WriterLane(
      this.database.storeOf(this.process, epoch),
      admission,
      batching,
      {
        committed: (plan) =>
          this.acknowledge([...plan.messages.map(({ message }) => message.receipt), ...plan.rejections.map(({ receipt }) => receipt)]),
        repeated: (receipts) => this.acknowledge(receipts),
        replaysTaken: () => undefined,
        failed: () => undefined,
      },
      clock,
    );
    lane.run().catch((error: Error) => (this.broken = error));
    this.lane = lane;
    this.connect();
  }

  get queued(): number {
    return this.lane?.queued ?? 0;
  }

  /** The broker is out of reach from now on. */
  isolate(): void {
    this.connected = false;
    this.isolated = true;
  }

  /** The network drops the connection; a new one is made later. */
  loseConnection(): void {
    if (!this.connected) return;
    this.connected = false;
    this.broker.disconnect();
    this.window = new AcknowledgementWindow(this.connections);
    void this.scheduler.later(this.process).then(() => this.connect());
  }

  private connect(): void {
    if (this.isolated) return;
    const resumed = this.broker.connect({ deliver: (packetId, published, duplicate) => this.receive(packetId, published, duplicate) });
    this.window = new AcknowledgementWindow(++this.connections, resumed, this.receiveMaximum);
    this.lane!.abandonBefore(this.connections);
    this.connected = true;
  }

  private receive(packetId: number, { topic, payload, key }: Published, duplicate: boolean): void {
    const receipt = this.window.hold(packetId, payload.length, duplicate);
    const packet = {
      topic,
      payload: Buffer.from(payload),
      qos: 1,
      retained: false,
      receivedAtMs: 1_795_300_000_000 + this.scheduler.nowMs,
      arrivedAtMs: this.scheduler.nowMs,
      receipt,
      deduplicationKey: key,
    };
    const intake = takeMessage(topic, packet.payload, intakeRules);
    if (intake.kind === 'accepted') this.lane!.take(telemetryMessage(packet, intake.content));
    else this.lane!.quarantine(rejection(packet, intake));
  }

  private acknowledge(receipts: readonly (Receipt | undefined)[]): void {
    for (const receipt of receipts) if (receipt) receipt.settled = true;
    const packets = this.window.takeSettled();
    const { connections } = this;
    // On the wire: it may be lost with the connection or the process. The order of packets is kept.
    this.acknowledging = this.acknowledging.then(async () => {
      await this.scheduler.later(this.process);
      if (!this.connected || connections !== this.connections) return;
      for (let at = 0; at < packets.length; at += 4) this.broker.puback(packets.readUInt16BE(at + 2));
    });
    this.acknowledging.catch((error: Error) => (this.broken = error));
  }

  private async insist<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch {
        await this.scheduler.later(this.process);
      }
    }
  }
}
