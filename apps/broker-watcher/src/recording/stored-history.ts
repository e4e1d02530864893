import { Injectable } from '@nestjs/common';
import { RedeliveryLedger } from '@tallystick/mqtt';
import { DatabaseConnection } from '@tallystick/persistence';
import { BrokerWatcherConfig } from '../broker-watcher.config.js';
import { BrokerHistory } from '../sessions/broker-history.js';
import type { Session } from '../sessions/session.js';
import { SessionBook } from '../sessions/session-book.js';
import { hashOfRaw } from './recorded-line.js';

interface SessionRow {
  id: string;
  client: string;
  username: string | null;
  start_ts: Date;
  address: string | null;
  port: number | null;
  protocol_version: number | null;
  clean_start: boolean;
  keepalive: number;
  start_uncertain: boolean;
  end_uncertain: boolean;
}

/** What the process before left in the database: open sessions, the last deliveries. */
@Injectable()
export class StoredHistory {
  constructor(
    private readonly connection: DatabaseConnection,
    private readonly config: BrokerWatcherConfig,
  ) {}

  async load(): Promise<BrokerHistory> {
    const { dataSource } = this.connection;
    const rows = await dataSource.query<SessionRow[]>(
      `SELECT id, client, username, start_ts, address, port, protocol_version, clean_start, keepalive, start_uncertain, end_uncertain
       FROM sessions WHERE broker = $1 AND end_ts IS NULL`,
      [this.config.brokerName],
    );
    return new BrokerHistory(new SessionBook(rows.map(sessionOf)));
  }

  /** Twice what can be unacknowledged: the broker may have exceeded the window when the last process ended. */
  async loadLedger(): Promise<RedeliveryLedger> {
    const capacity = 2 * this.config.maxUnacknowledged;
    const ledger = new RedeliveryLedger(capacity);
    const rows = await this.connection.dataSource.query<{ packet_id: number; raw: string }[]>(
      `SELECT packet_id, raw FROM (
         SELECT id, packet_id, raw FROM events WHERE broker = $1 AND packet_id IS NOT NULL AND received_at > now() - interval '2 days'
         ORDER BY id DESC LIMIT $2
       ) last ORDER BY id`,
      [this.config.brokerName, capacity],
    );
    for (const { packet_id, raw } of rows) ledger.record({ packetId: packet_id, topic: '', payloadHash: hashOfRaw(raw), connection: 0 });
    return ledger;
  }
}

function sessionOf(row: SessionRow): Session {
  const { id, client, username, address, port, start_ts, protocol_version, clean_start, keepalive } = row;
  const connect = protocol_version === null ? null : { protocolVersion: protocol_version, cleanStart: clean_start, keepaliveS: keepalive };
  return {
    id,
    client,
    username,
    startMs: start_ts.getTime(),
    seenMs: 0,
    endMs: null,
    address,
    port,
    connect,
    endReason: null,
    endedBy: null,
    startUncertain: row.start_uncertain,
    endUncertain: row.end_uncertain,
  };
}
