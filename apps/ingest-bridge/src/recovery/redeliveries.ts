import { Injectable } from '@nestjs/common';
import { LONGEST_TOPIC_BYTES, RedeliveryLedger } from '@tallystick/mqtt';
import { DatabaseConnection, uuidv7Floor } from '@tallystick/persistence';
import { IngestBridgeConfig } from '../ingest-bridge.config.js';
import { Receiver } from '../slots/receiver.js';

/** Batches in which the last deliveries of a receiver may lie: more than it can have open at once. */
const RECENT_BATCHES = 20_000;
/** Of these, the batches changed last among which the last message is looked for. */
const CHANGED_BATCHES = 1_000;
/** How many times as many rows as the ledger takes are looked through: batch by batch, or for what the same hours hold twice. */
const LOOK_THROUGH = 10;
/** Batches changed last that are looked into, whatever their times say: the database's clock may have stepped back. */
const CHANGED_LAST = 100;
/** Writer lanes commit out of the order of receipt by less than this. */
const LANE_SKEW_MS = 1_000;

interface Span {
  /** Bounds of message_id, which bound the partitions to read; null without a batch. */
  first: string | null;
  past: string | null;
  /** The message stored last. */
  newest: string | null;
  /** There are rejections beyond the time of the clock. */
  rejectionsAhead: boolean;
}

/**
 * The ledger of this receiver's last deliveries: filled from the database at start, kept by the lanes from then on. Last means by
 * transaction, `age(xmin)`, and not by id: ids follow the clock, and after a step back what was stored last has lower ids than
 * what was stored before the step.
 *
 * Candidates are all messages of the batches that can hold them, if those have not many more. With many open batches they have;
 * then they are taken from two ranges of ids: up to the message stored last, and beyond it, where there is something after a step
 * back only. That reads what other receivers stored in the same time, so it is not for a quiet receiver beside busy ones; but
 * such a one has small batches.
 */
@Injectable()
export class Redeliveries {
  readonly ledger: RedeliveryLedger;
  private readonly capacity: number;

  constructor(
    private readonly connection: DatabaseConnection,
    config: IngestBridgeConfig,
    private readonly receiver: Receiver,
  ) {
    // Twice what can be unacknowledged: the broker may have exceeded the window when the last process ended.
    this.capacity = 2 * config.maxUnacknowledged;
    this.ledger = new RedeliveryLedger(this.capacity);
  }

  /** Before the first connection to the broker, and again if it failed half-way. */
  async load(mostOfBatches = LOOK_THROUGH * this.capacity): Promise<void> {
    const nowId = uuidv7Floor(Date.now() + LANE_SKEW_MS);
    const { first, past, newest, rejectionsAhead } = await this.span(nowId);
    const newestId = newest && uuidv7Floor(unixMsOf(newest) + LANE_SKEW_MS);
    const candidates = (isAhead: boolean) => (isAhead ? LOOK_THROUGH * this.capacity : this.capacity);
    // IS TRUE keeps the look at the batches a filter of the index scan, which ends when it has enough; PostgreSQL may plan a join as
    // one that reads and sorts every message.
    const rows = await this.connection.dataSource.query<{ packet_id: number; topic: string; hash: string }[]>(
      `WITH recent AS MATERIALIZED (
         SELECT batch_id, message_count, created_at, coalesce(sealed_at, 'infinity') AS sealed_at, age(xmin) AS age,
                uuidv7_floor(start_timestamp) AS first, uuidv7_floor(end_timestamp + interval '1 ms') AS past
         FROM batches WHERE receiver = $1 ORDER BY created_at DESC LIMIT $3
       ), counted AS MATERIALIZED (
         SELECT *, sum(message_count) OVER (ORDER BY created_at DESC, batch_id DESC) AS messages_since, row_number() OVER (ORDER BY age) AS rank
         FROM recent
       ), chosen AS MATERIALIZED (
         -- Batches made since then fill the ledger, so one that was sealed before has nothing for it.
         SELECT batch_id, first, past, message_count FROM counted
         WHERE rank <= $12 OR sealed_at >= (SELECT coalesce(max(created_at) FILTER (WHERE messages_since >= $2), '-infinity') FROM counted)
       ), choice AS MATERIALIZED (
         SELECT coalesce(sum(message_count), 0) <= $11 AS by_batch FROM chosen
       ), candidates AS (
         (SELECT leaf.id, leaf.age, packet_id, topic, hash FROM chosen CROSS JOIN LATERAL (
            SELECT message_id AS id, age(xmin) AS age, packet_id, topic, message_hash AS hash FROM messages m
            WHERE m.batch_id = chosen.batch_id AND m.message_id >= chosen.first AND m.message_id < chosen.past AND packet_id IS NOT NULL
            ORDER BY leaf_index DESC LIMIT $2) leaf
          WHERE (SELECT by_batch FROM choice))
         UNION ALL
         (SELECT message_id, age(xmin), packet_id, topic, message_hash FROM messages
          WHERE message_id >= $4 AND message_id < $5 AND (batch_id IN (SELECT batch_id FROM recent)) IS TRUE AND packet_id IS NOT NULL
            AND NOT (SELECT by_batch FROM choice)
          ORDER BY message_id DESC LIMIT $7)
         UNION ALL
         (SELECT message_id, age(xmin), packet_id, topic, message_hash FROM messages
          WHERE message_id >= $5 AND message_id < $6 AND (batch_id IN (SELECT batch_id FROM recent)) IS TRUE AND packet_id IS NOT NULL
            AND NOT (SELECT by_batch FROM choice)
          ORDER BY message_id DESC LIMIT $2)
         UNION ALL
         -- A rejection that somebody decided about, or that was replayed, is as old as the transaction that stored it.
         (SELECT rejection_id, greatest(age(xmin), age(stored_txid::text::xid8::xid)), packet_id, topic, payload_hash FROM rejected_messages
          WHERE rejection_id < $8 AND receiver = $1 AND packet_id IS NOT NULL ORDER BY rejection_id DESC LIMIT $9)
         UNION ALL
         (SELECT rejection_id, greatest(age(xmin), age(stored_txid::text::xid8::xid)), packet_id, topic, payload_hash FROM rejected_messages
          WHERE rejection_id >= $8 AND receiver = $1 AND packet_id IS NOT NULL ORDER BY rejection_id DESC LIMIT $2)
       )
       SELECT packet_id, hash,
         CASE WHEN octet_length(topic) > $10 THEN '#' || encode(sha256(convert_to(topic, 'UTF8')), 'hex') ELSE topic END AS topic
       FROM (SELECT * FROM candidates ORDER BY age, id DESC LIMIT $2) last ORDER BY age DESC, id`,
      [
        this.receiver.clientId,
        this.capacity,
        RECENT_BATCHES,
        first,
        newestId,
        past,
        candidates(newestId !== null && newestId < past!),
        nowId,
        candidates(rejectionsAhead),
        LONGEST_TOPIC_BYTES,
        mostOfBatches,
        CHANGED_LAST,
      ],
    );
    for (const { packet_id, topic, hash } of rows) this.ledger.record({ packetId: packet_id, topic, payloadHash: hash, connection: 0 });
  }

  /** In a batch the leaves are in order of storing, so the message stored last is the last leaf of a batch changed lately. */
  private async span(nowId: string): Promise<Span> {
    const [span] = await this.connection.dataSource.query<[Span]>(
      `WITH recent AS MATERIALIZED (
         SELECT batch_id, start_timestamp, end_timestamp, age(xmin) AS age FROM batches WHERE receiver = $1 ORDER BY created_at DESC LIMIT $2
       ), changed AS MATERIALIZED (
         SELECT batch_id, uuidv7_floor(start_timestamp) AS first, uuidv7_floor(end_timestamp + interval '1 ms') AS past
         FROM (SELECT * FROM recent ORDER BY age LIMIT $3) lately
       )
       SELECT (SELECT uuidv7_floor(min(start_timestamp)) FROM recent) AS first,
         (SELECT uuidv7_floor(max(end_timestamp) + interval '1 ms') FROM recent) AS past,
         (SELECT leaf.message_id FROM changed CROSS JOIN LATERAL (
            SELECT m.message_id, age(m.xmin) AS age FROM messages m
            WHERE m.batch_id = changed.batch_id AND m.message_id >= changed.first AND m.message_id < changed.past
            ORDER BY m.leaf_index DESC LIMIT 1) leaf
          ORDER BY leaf.age, leaf.message_id DESC LIMIT 1) AS newest,
         EXISTS (SELECT FROM rejected_messages WHERE rejection_id >= $4) AS "rejectionsAhead"`,
      [this.receiver.clientId, RECENT_BATCHES, CHANGED_BATCHES, nowId],
    );
    return span;
  }
}

/** The time of a UUIDv7: its first 48 bits. */
function unixMsOf(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}
