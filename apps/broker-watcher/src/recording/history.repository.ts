import { hash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { BEGIN_LIMITED, DatabaseConnection, inTransaction } from '@tallystick/persistence';
import { escapeLiteral, type PoolClient } from 'pg';
import { BrokerWatcherConfig } from '../broker-watcher.config.js';
import type { Session } from '../sessions/session.js';
import { clientColumns, clientsOfFate, eventColumns, type HistoryPlan, sessionColumns, subscriptionColumns } from './history-plan.js';

const DAY_MS = 24 * 3600 * 1000;

/** The only writer of events, clients, sessions, subscriptions and observation_gaps. */
@Injectable()
export class HistoryRepository {
  /** Starts every commit, and refuses it when another process has taken our place. */
  private begin = BEGIN_LIMITED;

  constructor(
    private readonly connection: DatabaseConnection,
    private readonly config: BrokerWatcherConfig,
  ) {}

  /**
   * Takes the place of every earlier process with our client id or for our BROKER_NAME: once this resolves, none of their commits can
   * follow. Two brokers under one name would end each other's sessions. Throws while one of them does not end, instead of waiting for it
   * longer than the connection is waited for: every try would leave one more in the server.
   */
  async beginEpoch(): Promise<void> {
    const { brokerName, mqtt } = this.config;
    // hashed, since a name may be as long as the column
    const places = [mqtt.clientId, `broker-watcher/${hash('sha256', brokerName, 'hex')}`];
    const asserted: string[] = [];
    for (const place of places) {
      const { rows } = await inTransaction(
        this.connection.dataSource,
        (client) => client.query<{ epoch: string }>(`SELECT begin_receiver_epoch($1) AS epoch`, [place]),
        BEGIN_LIMITED,
      );
      asserted.push(`SELECT assert_receiver_epoch(${escapeLiteral(place)}, ${rows[0]!.epoch})`);
    }
    this.begin = [BEGIN_LIMITED, ...asserted].join('; ');
  }

  /** Ids for what the plan inserts. Drawn outside the transaction, so that they are the same at every try of it. */
  async drawIds(plan: HistoryPlan): Promise<void> {
    const unborn = [...plan.newSessions];
    const [row] = await this.connection.dataSource.query<{ event: string; sessions: string[] }[]>(
      `SELECT nextval('events_id_seq') AS event, ARRAY(SELECT nextval('sessions_id_seq') FROM generate_series(1, $1)) AS sessions`,
      [unborn.length],
    );
    plan.firstEventId = row!.event;
    for (const [index, session] of unborn.entries()) session.id = row!.sessions[index]!;
  }

  /** The one transaction: all of the plan or nothing. After an error out of COMMIT it may have landed: `hasLanded` tells. */
  async commit(plan: HistoryPlan): Promise<void> {
    const { changes, newSessions } = plan;
    const sessions = [...changes.sessions];
    await inTransaction(
      this.connection.dataSource,
      async (client) => {
        await this.insertEvents(client, plan);
        if (changes.clients.size > 0) await this.upsertClients(client, plan);
        // Ended ones first: a client has one open session at most.
        await this.updateSessions(
          client,
          sessions.filter((session) => !newSessions.has(session)),
        );
        await this.insertSessions(
          client,
          sessions.filter((session) => newSessions.has(session)),
        );
        await this.changeSubscriptions(client, plan);
        await this.insertGaps(client, plan);
        // COMMIT follows here. Only after it may a line of the plan be acknowledged.
      },
      this.begin,
    );
  }

  /** Whether a plan whose commit failed is stored after all. */
  async hasLanded({ firstEventId, events }: HistoryPlan): Promise<boolean> {
    if (events.length === 0) return false; // the rest may be done twice
    const found = await this.connection.dataSource.query<unknown[]>(`SELECT FROM events WHERE id = $1 AND received_at = $2`, [
      firstEventId,
      new Date(events[0]!.receivedAtMs),
    ]);
    return found.length > 0;
  }

  /** Makes the day partitions that cover a span of Unix ms. Throws when it would have to wait long for its lock: commits wait behind it. */
  async ensurePartitions(fromMs: number, toMs: number): Promise<string[]> {
    const { rows } = await inTransaction(
      this.connection.dataSource,
      (client) => client.query<{ name: string }>(`SELECT ensure_history_partitions($1, $2) AS name`, [new Date(fromMs), new Date(toMs)]),
      BEGIN_LIMITED,
    );
    return rows.map((row) => row.name);
  }

  /** Makes the day partitions of these times, Unix ms, day by day: a clock that was set right in between may have left years. */
  async ensureDays(timesMs: readonly number[]): Promise<void> {
    for (const dayMs of new Set(timesMs.map((ms) => Math.floor(ms / DAY_MS) * DAY_MS))) await this.ensurePartitions(dayMs, dayMs);
  }

  private async insertEvents(client: PoolClient, { events, firstEventId }: HistoryPlan): Promise<void> {
    if (events.length === 0) return;
    await client.query({
      name: 'insert-events',
      text: `INSERT INTO events (id, broker, ts, action, client, topic, qos, username, raw, received_at, address, port, reason, truncated,
                                 packet_id, line_count)
             SELECT CASE WHEN n = 1 THEN $1::bigint ELSE nextval('events_id_seq') END, $2, ts, action, client, topic, qos, username, raw,
                    received_at, address, port, reason, truncated, packet_id, line_count
             FROM unnest($3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::smallint[], $8::text[], $9::text[], $10::timestamptz[],
                         $11::text[], $12::int[], $13::text[], $14::bool[], $15::int[], $16::int[])
               WITH ORDINALITY AS e (ts, action, client, topic, qos, username, raw, received_at, address, port, reason, truncated,
                                     packet_id, line_count, n)
             ORDER BY n`,
      values: [firstEventId, this.config.brokerName, ...eventColumns(events)],
    });
  }

  private async upsertClients(client: PoolClient, { changes }: HistoryPlan): Promise<void> {
    await client.query({
      name: 'upsert-clients',
      text: `INSERT INTO clients AS c (broker, client, username, first_seen, last_seen)
             SELECT $1, s.* FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[]) AS s
             ON CONFLICT (broker, client) DO UPDATE SET
               username = coalesce(excluded.username, c.username),
               first_seen = least(c.first_seen, excluded.first_seen),
               last_seen = greatest(c.last_seen, excluded.last_seen)`,
      values: [this.config.brokerName, ...clientColumns(changes)],
    });
  }

  private async updateSessions(client: PoolClient, sessions: readonly Session[]): Promise<void> {
    if (sessions.length === 0) return;
    await client.query({
      name: 'update-sessions',
      text: `UPDATE sessions s SET username = n.username, end_ts = n.end_ts, address = n.address, port = n.port,
               protocol_version = n.protocol_version, clean_start = n.clean_start, keepalive = n.keepalive, end_reason = n.end_reason,
               ended_by = n.ended_by, start_uncertain = n.start_uncertain, end_uncertain = n.end_uncertain
             FROM ${SESSION_ROWS} WHERE s.id = n.id`,
      values: sessionColumns(sessions),
    });
  }

  private async insertSessions(client: PoolClient, sessions: readonly Session[]): Promise<void> {
    if (sessions.length === 0) return;
    await client.query({
      name: 'insert-sessions',
      text: `INSERT INTO sessions (id, broker, client_id, client, username, start_ts, end_ts, address, port, protocol_version, clean_start,
                                   keepalive, end_reason, ended_by, start_uncertain, end_uncertain)
             SELECT n.id, $15::varchar, c.id, n.client, n.username, n.start_ts, n.end_ts, n.address, n.port, n.protocol_version, n.clean_start,
                    n.keepalive, n.end_reason, n.ended_by, n.start_uncertain, n.end_uncertain
             FROM ${SESSION_ROWS} LEFT JOIN clients c ON c.broker = $15::varchar AND c.client = n.client`,
      values: [...sessionColumns(sessions), this.config.brokerName],
    });
  }

  /** What becomes of all of a client's subscriptions first, then the named ones. */
  private async changeSubscriptions(client: PoolClient, { changes }: HistoryPlan): Promise<void> {
    for (const [fate, active, uncertain] of [
      ['dropped', 'false', 'false'],
      ['lost', 'false', 'true'],
      ['doubtful', 'active', 'true'],
    ] as const) {
      const clients = clientsOfFate(changes, fate);
      if (clients.length === 0) continue;
      await client.query({
        name: `subscriptions-${fate}`,
        text: `UPDATE subscriptions SET active = ${active}, uncertain = ${uncertain}, updated_at = now()
               WHERE broker = $1 AND client = ANY ($2) AND (active OR uncertain)`,
        values: [this.config.brokerName, clients],
      });
    }
    const columns = subscriptionColumns(changes);
    if (columns.length === 0) return;
    await client.query({
      name: 'upsert-subscriptions',
      text: `INSERT INTO subscriptions AS s (broker, client, topic, qos, active, uncertain, session_id, created_at, updated_at)
             SELECT $1::varchar, client, topic, coalesce(qos, (SELECT o.qos FROM subscriptions o WHERE o.broker = $1::varchar AND o.client = n.client AND o.topic = n.topic), 0), active, uncertain, session_id, at, at
             FROM unnest($2::text[], $3::text[], $4::smallint[], $5::bool[], $6::bool[], $7::bigint[], $8::timestamptz[])
               AS n (client, topic, qos, active, uncertain, session_id, at)
             ON CONFLICT (broker, client, topic) DO UPDATE SET
               qos = excluded.qos, active = excluded.active,
               uncertain = excluded.uncertain, session_id = coalesce(excluded.session_id, s.session_id), updated_at = excluded.updated_at`,
      values: [this.config.brokerName, ...columns],
    });
  }

  private async insertGaps(client: PoolClient, { gaps, brokerStartedAtMs }: HistoryPlan): Promise<void> {
    for (const { fromMs, toMs, reason } of gaps) {
      // A try of unknown outcome may have left it.
      await client.query(
        `INSERT INTO observation_gaps (broker, from_ts, to_ts, reason) SELECT $1::varchar, $2::timestamptz, $3::timestamptz, $4
         WHERE NOT EXISTS (SELECT FROM observation_gaps WHERE broker = $1::varchar AND from_ts = $2 AND to_ts = $3)`,
        [this.config.brokerName, new Date(fromMs), new Date(toMs), reason],
      );
    }
    if (brokerStartedAtMs === undefined) return;
    // An absence in which the broker began anew was the broker's. Its log is as old as it: 20 s more than the gap says.
    await client.query(
      `UPDATE observation_gaps SET reason = 'broker_down'
       WHERE broker = $1 AND reason = 'log_expired' AND $2 BETWEEN from_ts AND to_ts + interval '30 seconds'`,
      [this.config.brokerName, new Date(brokerStartedAtMs)],
    );
  }
}

const SESSION_ROWS = `unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::text[], $7::int[], $8::smallint[],
    $9::bool[], $10::int[], $11::text[], $12::text[], $13::bool[], $14::bool[])
  AS n (id, client, username, start_ts, end_ts, address, port, protocol_version, clean_start, keepalive, end_reason, ended_by,
        start_uncertain, end_uncertain)`;
