import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import { IncrementalTree, messageLeafHash } from '@tallystick/hashing';
import { DatabaseConnection, inTransaction } from '@tallystick/persistence';
import type { PoolClient } from 'pg';
import { IngestBridgeConfig } from '../ingest-bridge.config.js';
import { nativeSha256 } from '../intake/telemetry-message.js';
import { Receiver } from '../slots/receiver.js';

/** How long beyond its time a batch may be pending before its owner counts as gone. */
const GRACE_MS = 60_000;
const SWEEP_EVERY_MS = 30_000;

interface PendingBatch {
  batch_id: string;
  receiver: string;
  message_count: number;
  open_root: Buffer;
}

export interface RecoveredBatch {
  batchId: string;
  receiver: string;
  outcome: 'complete' | 'failed';
}

/**
 * Seals pending batches whose owner is gone. Nobody goes on filling another's batch: its rows are read again, and if they give
 * the root and count of its last commit it is sealed, otherwise marked `failed`. An owner that wakes late finds its batch taken
 * and starts a new one.
 */
@Injectable()
export class BatchRecovery implements OnModuleDestroy {
  private readonly logger = new Logger(BatchRecovery.name);
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly connection: DatabaseConnection,
    private readonly config: IngestBridgeConfig,
    private readonly receiver: Receiver,
  ) {}

  /** Before the first commit of this process: what is pending under our name was left by the process before. */
  async recoverOwn(): Promise<RecoveredBatch[]> {
    return this.recoverAll(`receiver = $1`, [this.receiver.clientId]);
  }

  /** Batches of any other receiver that have been pending for too long. */
  async recoverAbandoned(): Promise<RecoveredBatch[]> {
    const olderThanMs = this.config.batchTimeoutMs + GRACE_MS;
    return this.recoverAll(`receiver <> $1 AND created_at < now() - $2 * interval '1 ms'`, [this.receiver.clientId, olderThanMs]);
  }

  startSweeping(): void {
    this.timer = setInterval(() => {
      this.recoverAbandoned().catch((error: Error) => this.logger.warn(`pending batches could not be looked through: ${error.message}`));
    }, SWEEP_EVERY_MS);
  }

  onModuleDestroy(): void {
    clearInterval(this.timer);
  }

  private async recoverAll(which: string, values: unknown[]): Promise<RecoveredBatch[]> {
    const recovered: RecoveredBatch[] = [];
    for (;;) {
      const batch = await inTransaction(this.connection.dataSource, (client) => recoverOne(client, which, values));
      if (!batch) return recovered;
      recovered.push(batch);
      const line = { batchId: batch.batchId, receiver: batch.receiver };
      if (batch.outcome === 'complete') this.logger.log('sealed a batch that its bridge left pending', line);
      else this.logger.error('the rows of a pending batch do not give its root: it is marked as failed', undefined, line);
    }
  }
}

/** One batch, one transaction. SKIP LOCKED: several bridges may sweep at once, and an owner in mid-commit is left alone. */
async function recoverOne(client: PoolClient, which: string, values: unknown[]): Promise<RecoveredBatch | undefined> {
  const { rows } = await client.query<PendingBatch>(
    `SELECT batch_id, receiver, message_count, open_root FROM batches WHERE status = 'pending' AND ${which}
     ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED`,
    values,
  );
  const [batch] = rows;
  if (!batch) return undefined;
  const leafHashes = await leafHashesOf(client, batch.batch_id);
  const root = IncrementalTree.of(leafHashes, nativeSha256).root();
  const isWhole = leafHashes.length === batch.message_count && batch.open_root.equals(root);
  await client.query(
    `UPDATE batches SET status = $2::text, close_reason = 'recovery', sealed_at = now(), leaf_hashes = $3,
       batch_hash = CASE WHEN $2::text = 'complete' THEN encode(open_root, 'hex') ELSE batch_hash END
     WHERE batch_id = $1`,
    [batch.batch_id, isWhole ? 'complete' : 'failed', isWhole ? Buffer.concat(leafHashes) : null],
  );
  return { batchId: batch.batch_id, receiver: batch.receiver, outcome: isWhole ? 'complete' : 'failed' };
}

async function leafHashesOf(client: PoolClient, batchId: string): Promise<Uint8Array[]> {
  const { rows } = await client.query<{
    message_id: string;
    device_id: string;
    topic: string;
    received_at: Date;
    payload_size: number;
    message_hash: string;
    nonce: Buffer;
  }>(
    `SELECT message_id, device_id, topic, received_at, payload_size, message_hash, nonce FROM messages WHERE batch_id = $1 ORDER BY leaf_index`,
    [batchId],
  );
  return rows.map((row) =>
    messageLeafHash(
      {
        messageId: row.message_id,
        deviceId: row.device_id,
        topic: row.topic,
        receivedAtMs: row.received_at.getTime(),
        payloadSize: row.payload_size,
        messageHash: row.message_hash,
        nonce: row.nonce.toString('hex'),
      },
      nativeSha256,
    ),
  );
}
