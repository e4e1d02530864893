import { IncrementalTree } from '@tallystick/hashing';
import { nativeSha256, type TelemetryMessage } from '../intake/telemetry-message.js';

/** A batch of one tenant that is still filling: what its lane knows of it, equal to what the database has at every COMMIT. */
export class OpenBatch {
  private constructor(
    readonly batchId: string,
    readonly tenantId: string,
    /** Monotonic ms of its first message: its age does not follow the clock. */
    readonly openedAtMs: number,
    private readonly tree: IncrementalTree,
    private readonly leafHashes: Uint8Array[],
    public startMs: number,
    public endMs: number,
    public payloadBytes: number,
  ) {}

  static open(batchId: string, tenantId: string, openedAtMs: number): OpenBatch {
    return new OpenBatch(batchId, tenantId, openedAtMs, new IncrementalTree(nativeSha256), [], Infinity, -Infinity, 0);
  }

  get messageCount(): number {
    return this.leafHashes.length;
  }

  /** An independent copy for one commit, adopted only after COMMIT. */
  clone(): OpenBatch {
    const { batchId, tenantId, openedAtMs, tree, leafHashes, startMs, endMs, payloadBytes } = this;
    return new OpenBatch(batchId, tenantId, openedAtMs, tree.clone(), leafHashes.slice(), startMs, endMs, payloadBytes);
  }

  /** Adds a message and returns its leaf index. The clock may jump back between two messages, so start and end are extremes. */
  append(message: TelemetryMessage): number {
    this.tree.append(message.leafHash);
    this.startMs = Math.min(this.startMs, message.receivedAtMs);
    this.endMs = Math.max(this.endMs, message.receivedAtMs);
    this.payloadBytes += message.payload.length;
    return this.leafHashes.push(message.leafHash) - 1;
  }

  root(): Uint8Array {
    return this.tree.root();
  }

  /** 32 bytes times messageCount, in leaf order. */
  joinedLeafHashes(): Buffer {
    return Buffer.concat(this.leafHashes);
  }
}
