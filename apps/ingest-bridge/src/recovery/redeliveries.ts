import { Injectable } from '@nestjs/common';
import { RedeliveryLedger } from '@tallystick/mqtt';
import { DatabaseConnection } from '@tallystick/persistence';
import { IngestBridgeConfig } from '../ingest-bridge.config.js';

/** Batches in which the last deliveries of a receiver may lie: more than it can have open at once. */
const RECENT_BATCHES = 20_000;

/** The ledger of this receiver's last deliveries: filled from the database at start, kept by the lanes from then on. */
@Injectable()
export class Redeliveries {
  readonly ledger: RedeliveryLedger;
  private readonly capacity: number;

  constructor(
    private readonly connection: DatabaseConnection,
    private readonly config: IngestBridgeConfig,
  ) {
    // Twice what can be unacknowledged: the broker may have exceeded the window when the last process ended.
    this.capacity = 2 * config.maxUnacknowledged;
    this.ledger = new RedeliveryLedger(this.capacity);
  }

  /** Before the first connection to the broker, and again if it failed half-way. */
  async load(): Promise<void> {
    const { dataSource } = this.connection;
    const receiver = this.config.mqtt.clientId;
    // message_id bounds the partitions to read; both queries end as soon as the ledger is full.
    const rows = await dataSource.query<{ packet_id: number; topic: string; hash: string; id: string }[]>(
      `WITH recent AS (
         SELECT batch_id, start_timestamp, end_timestamp FROM batches WHERE receiver = $1 ORDER BY created_at DESC LIMIT $3
       ), span AS (
         SELECT uuidv7_floor(min(start_timestamp)) AS first, uuidv7_floor(max(end_timestamp) + interval '1 ms') AS past FROM recent
       ), stored AS (
         SELECT message_id AS id, packet_id, topic, message_hash AS hash FROM messages
         WHERE message_id >= (SELECT first FROM span) AND message_id < (SELECT past FROM span)
           AND batch_id IN (SELECT batch_id FROM recent) AND packet_id IS NOT NULL
         ORDER BY message_id DESC LIMIT $2
       ), quarantined AS (
         SELECT rejection_id AS id, packet_id, topic, payload_hash AS hash FROM rejected_messages
         WHERE receiver = $1 AND packet_id IS NOT NULL ORDER BY received_at DESC LIMIT $2
       )
       SELECT * FROM (SELECT * FROM stored UNION ALL SELECT * FROM quarantined ORDER BY id DESC LIMIT $2) last ORDER BY id`,
      [receiver, this.capacity, RECENT_BATCHES],
    );
    for (const { packet_id, topic, hash } of rows) this.ledger.record({ packetId: packet_id, topic, payloadHash: hash, connection: 0 });
  }
}
