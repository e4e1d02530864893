import { Injectable } from '@nestjs/common';
import { DatabaseConnection, type RejectionReason } from '@tallystick/persistence';
import { IngestBridgeConfig } from '../ingest-bridge.config.js';

/** How many rejections were removed for being too old, and how many to make room. */
export interface Trim {
  age: number;
  size: number;
  /** The quarantine is still beyond its bound. */
  more: boolean;
}

/** A rejection that waits for its replay. */
export interface RequestedReplay {
  rejectionId: string;
  tenantId: string | null;
  topic: string;
  payload: Buffer;
  truncated: boolean;
  reason: RejectionReason;
  qos: number;
}

/** Removes rejections and finds those to be replayed; TelemetryRepository alone stores them. */
@Injectable()
export class QuarantineRepository {
  constructor(
    private readonly connection: DatabaseConnection,
    private readonly config: IngestBridgeConfig,
  ) {}

  /** Removes and records one portion of what is too old or too much, in a transaction of its own. `busy`: another bridge is at it. */
  async trim(): Promise<Trim | 'busy'> {
    const { quarantineMaxBytes, quarantineMaxAgeDays } = this.config;
    const [trim] = await this.connection.dataSource.query<Trim[]>(
      `SELECT removed_by_age AS age, removed_by_size AS size, more FROM trim_quarantine($1, make_interval(days => $2))`,
      [quarantineMaxBytes, quarantineMaxAgeDays],
    );
    return trim ?? 'busy';
  }

  /** The oldest rejections that wait for their replay: up to `most` of them, and no more once they have `mostBytes`. */
  findRequested(most: number, mostBytes: number): Promise<RequestedReplay[]> {
    return this.connection.dataSource.query<RequestedReplay[]>(
      `SELECT rejection_id AS "rejectionId", tenant_id AS "tenantId", topic, payload, truncated, reason, qos
       FROM (
         SELECT *, sum(octet_length(payload) + octet_length(topic)) OVER (ORDER BY received_at, rejection_id ROWS UNBOUNDED PRECEDING)
           - octet_length(payload) - octet_length(topic) AS bytes_before
         FROM (
           SELECT * FROM rejected_messages WHERE status = 'replay_requested' ORDER BY received_at, rejection_id LIMIT $1
         ) oldest
       ) summed
       WHERE bytes_before < $2 ORDER BY received_at, rejection_id`,
      [most, mostBytes],
    );
  }
}
