import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import { DeferredAckMqttServer, type ReceivedPacket } from '@tallystick/mqtt';
import { Lifecycle } from '@tallystick/observability';
import { Writer } from '../committing/writer.js';
import { IngestBridgeConfig } from '../ingest-bridge.config.js';
import { type IntakeRules, takeMessage } from '../intake/take-message.js';
import { rejection, telemetryMessage, type Rejection, type TelemetryMessage } from '../intake/telemetry-message.js';
import { QuarantineRepository, type RequestedReplay } from './quarantine.repository.js';

const INTERVAL_MS = 1_000;
/** Of a portion: a tenth of a full commit, so that messages which come now have the rest of it. */
const MOST_ROWS = 200;
/** Held besides what is unacknowledged; one more may be begun. */
const MOST_BYTES = 4 * 1024 * 1024;

/**
 * Takes rejections whose replay is requested through intake, admission and a lane, like messages that come now, by the present
 * configuration. One portion after the other, oldest first: the next is read when nothing of the last one is left to do, so however
 * many are requested, no more than a portion is held. The commit that stores a message marks its rejection, so a process may end at
 * any point: what is not marked is still requested. Any number of bridges may do this at once; the commit decides (ReplayTakenError).
 */
@Injectable()
export class QuarantineReplay implements OnModuleDestroy {
  private readonly logger = new Logger(QuarantineReplay.name);
  private readonly rules: IntakeRules;
  private readonly stopping = new AbortController();
  /** Of the portion under way: rejection ids. */
  private readonly underWay = new Set<string>();
  private taken = 0;
  /** Looks in a row that the database did not answer. */
  private failures = 0;
  private portionDone: () => void = () => undefined;

  constructor(
    private readonly repository: QuarantineRepository,
    private readonly writer: Writer,
    private readonly server: DeferredAckMqttServer,
    private readonly lifecycle: Lifecycle,
    config: IngestBridgeConfig,
  ) {
    const { patterns, payloadFormat, maxPayloadBytes } = config;
    this.rules = { patterns, payloadFormat, maxPayloadBytes };
    writer.onReplaysDone = (rejectionIds, outcome) => this.done(rejectionIds, outcome);
  }

  start(): void {
    // A failure of the database is survived; what else is thrown is a bug, as at intake, and a restart is safer than no more replays.
    this.run().catch((error: Error) => this.lifecycle.fail(error));
  }

  /** Reads no more. What is under way is the writer's to store. */
  stop(): void {
    this.stopping.abort();
  }

  onModuleDestroy(): void {
    this.stop();
  }

  private async run(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      if (await this.replayPortion()) continue;
      // Jitter, so that bridges which met over the same rejections do not meet again.
      await sleep(INTERVAL_MS * (0.75 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
    }
  }

  /** Whether to go on at once: there may be more, and no other bridge is at it. */
  private async replayPortion(): Promise<boolean> {
    if (this.writer.problem !== undefined || this.server.problem !== undefined) return false;
    const portion = await this.readPortion();
    if (portion.length === 0 || this.stopping.signal.aborted) return false;
    await this.replayAll(portion);
    return this.taken < portion.length;
  }

  private async readPortion(): Promise<RequestedReplay[]> {
    try {
      const portion = await this.repository.findRequested(MOST_ROWS, MOST_BYTES);
      this.failures = 0;
      return portion;
    } catch (error) {
      this.failures += 1;
      // The first of a row of failures, then ever rarer.
      if ((this.failures & (this.failures - 1)) === 0)
        this.logger.warn(`rejections could not be replayed now: ${(error as Error).message}`);
      return [];
    }
  }

  /** Resolves when nothing of the portion is left to do. */
  private replayAll(portion: readonly RequestedReplay[]): Promise<void> {
    this.taken = 0;
    for (const { rejectionId } of portion) this.underWay.add(rejectionId);
    const done = new Promise<void>((resolve) => (this.portionDone = resolve));
    for (const requested of portion) this.writer.replay(takeAgain(requested, this.rules));
    return done;
  }

  private done(rejectionIds: readonly string[], outcome: 'settled' | 'taken'): void {
    if (outcome === 'taken') this.taken += rejectionIds.length;
    for (const rejectionId of rejectionIds) this.underWay.delete(rejectionId);
    if (this.underWay.size === 0) this.portionDone();
  }
}

/** Nothing was delivered: a replay has no acknowledgement, packet identifier or deduplication key, and is received now. */
function takeAgain(requested: RequestedReplay, rules: IntakeRules): TelemetryMessage | Rejection {
  const { rejectionId, topic, payload, qos, reason, tenantId } = requested;
  const packet: ReceivedPacket = {
    ...{ topic, payload, qos, retained: false, receipt: undefined, deduplicationKey: undefined },
    ...{ receivedAtMs: Date.now(), arrivedAtMs: performance.now() },
  };
  const missing = whatIsMissing(requested);
  if (missing !== undefined) return rejection(packet, { reason, detail: `${missing}, so it cannot be replayed`, tenantId }, rejectionId);
  const intake = takeMessage(topic, payload, rules);
  return intake.kind === 'accepted' ? telemetryMessage(packet, intake.content, rejectionId) : rejection(packet, intake, rejectionId);
}

/** Only what was received is stored as a message, byte for byte. */
function whatIsMissing({ truncated, reason, topic }: RequestedReplay): string | undefined {
  if (truncated) return 'only the beginning of the payload was kept';
  // Stored in place of U+0000, for which intake refuses a topic.
  if (reason === 'topic_mismatch' && topic.includes('\ufffd')) return 'the topic holds a character that was not kept';
  return undefined;
}
