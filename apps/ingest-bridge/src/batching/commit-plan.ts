import type { CloseReason, RejectionReason } from '@tallystick/persistence';
import type { Rejection, TelemetryMessage } from '../intake/telemetry-message.js';
import { OpenBatch } from './open-batch.js';

export interface BatchingRules {
  /** Messages after which a batch is sealed. */
  batchSize: number;
  /** Payload bytes after which a batch is sealed. */
  batchBytes: number;
  /** Age of the first message after which a batch is sealed. */
  batchTimeoutMs: number;
  /** Open batches, and so tenants, at most; beyond it the oldest are sealed. */
  mostOpenBatches: number;
}

export interface PlannedMessage {
  message: TelemetryMessage;
  batchId: string;
  leafIndex: number;
}

/** What a commit does to one batch: `messagesBefore` = 0 inserts it, otherwise it must still be pending with that count. */
export interface BatchChange {
  batch: OpenBatch;
  messagesBefore: number;
  closeReason: CloseReason | undefined;
}

/** What one device gains by a commit. */
export interface DeviceGain {
  tenantId: string;
  deviceId: string;
  siteId: string;
  messages: number;
  lastSeenMs: number;
  firmwareVersion: string | null;
}

/** What becomes of a rejection that was taken again: the message as which it is stored, or why it was refused once more. */
export interface ReplayOutcome {
  rejectionId: string;
  messageId: string | null;
  reason: RejectionReason | null;
  detail: string | null;
  tenantId: string | null;
}

/** The content of one transaction, and the open batches as they are once it is committed. */
export interface CommitPlan {
  messages: PlannedMessage[];
  /** New ones: what was refused once more is in `replays`. */
  rejections: Rejection[];
  /** Each must still be requested. */
  replays: ReplayOutcome[];
  changes: BatchChange[];
  /** In key order, so that two writers take row locks in the same order. */
  devices: DeviceGain[];
  /** What the plan's messages and rejections have of deduplication keys. In order, for the same reason. */
  keyHashes: string[];
  openAfter: ReadonlyMap<string, OpenBatch>;
}

export interface PlanInput {
  /** The lane's open batches by tenant, as committed. They are not changed. */
  open: ReadonlyMap<string, OpenBatch>;
  messages: readonly TelemetryMessage[];
  rejections: readonly Rejection[];
  rules: BatchingRules;
  /** Monotonic ms. */
  nowMs: number;
  newBatchId: () => string;
  /** Seal every open batch: the lane is shutting down. */
  sealAll: boolean;
}

/**
 * Puts messages into their tenants' batches, in order, sealing a batch when it is full and opening the next; then seals what
 * has come of age. Pure: the same input gives the same transaction, and nothing is taken over before it is committed.
 */
export function planCommit({ open, messages, rejections, rules, nowMs, newBatchId, sealAll }: PlanInput): CommitPlan {
  const openAfter = new Map(open);
  const changes = new Map<string, BatchChange>();
  const planned = messages.map((message): PlannedMessage => {
    const batch = writable(message.tenantId);
    const leafIndex = batch.append(message);
    const full = fullBy(batch, rules);
    if (full) seal(batch, full);
    return { message, batchId: batch.batchId, leafIndex };
  });
  for (const [tenantId, batch] of [...openAfter]) {
    if (sealAll) seal(writable(tenantId), 'shutdown');
    // A Map keeps the order of opening: the oldest come first.
    else if (nowMs - batch.openedAtMs >= rules.batchTimeoutMs || openAfter.size > rules.mostOpenBatches) seal(writable(tenantId), 'age');
  }
  return {
    messages: planned,
    rejections: rejections.filter(({ replayOf }) => replayOf === undefined),
    replays: [...messages.flatMap(storedReplay), ...rejections.flatMap(refusedReplay)],
    changes: [...changes.values()],
    devices: deviceGains(messages),
    keyHashes: keyHashes([...messages, ...rejections]),
    openAfter,
  };

  /** The tenant's open batch as a copy that belongs to this plan, or a new one. */
  function writable(tenantId: string): OpenBatch {
    const current = openAfter.get(tenantId);
    if (current && changes.has(current.batchId)) return current;
    const batch = current?.clone() ?? OpenBatch.open(newBatchId(), tenantId, nowMs);
    openAfter.set(tenantId, batch); // in its place when it was open before
    changes.set(batch.batchId, { batch, messagesBefore: current?.messageCount ?? 0, closeReason: undefined });
    return batch;
  }

  function seal(batch: OpenBatch, reason: CloseReason): void {
    changes.get(batch.batchId)!.closeReason = reason;
    openAfter.delete(batch.tenantId);
  }
}

/** Whether a lane has something to seal although no message came. */
export function sealingIsDue(open: ReadonlyMap<string, OpenBatch>, rules: BatchingRules, nowMs: number): boolean {
  for (const batch of open.values()) if (nowMs - batch.openedAtMs >= rules.batchTimeoutMs) return true;
  return false;
}

function fullBy(batch: OpenBatch, rules: BatchingRules): CloseReason | undefined {
  if (batch.messageCount >= rules.batchSize) return 'size';
  return batch.payloadBytes >= rules.batchBytes ? 'bytes' : undefined;
}

function deviceGains(messages: readonly TelemetryMessage[]): DeviceGain[] {
  const gains = new Map<string, DeviceGain>();
  for (const { tenantId, deviceId, siteId, receivedAtMs, firmwareVersion } of messages) {
    const key = deviceKey(tenantId, deviceId);
    const gain = gains.get(key);
    if (!gain) {
      gains.set(key, { tenantId, deviceId, siteId, messages: 1, lastSeenMs: receivedAtMs, firmwareVersion });
      continue;
    }
    gain.messages += 1;
    gain.siteId = siteId;
    gain.lastSeenMs = Math.max(gain.lastSeenMs, receivedAtMs);
    gain.firmwareVersion = firmwareVersion ?? gain.firmwareVersion;
  }
  return [...gains].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, gain]) => gain);
}

function storedReplay({ replayOf, messageId, tenantId }: TelemetryMessage): ReplayOutcome[] {
  return replayOf === undefined ? [] : [{ rejectionId: replayOf, messageId, reason: null, detail: null, tenantId }];
}

function refusedReplay({ replayOf, reason, detail, tenantId }: Rejection): ReplayOutcome[] {
  return replayOf === undefined ? [] : [{ rejectionId: replayOf, messageId: null, reason, detail, tenantId }];
}

function keyHashes(stored: readonly (TelemetryMessage | Rejection)[]): string[] {
  return stored.flatMap(({ keyHash }) => keyHash ?? []).sort();
}

/** One text per device; a topic level cannot hold U+0000, so two devices never share one. */
export function deviceKey(tenantId: string, deviceId: string): string {
  return `${tenantId}\0${deviceId}`;
}
