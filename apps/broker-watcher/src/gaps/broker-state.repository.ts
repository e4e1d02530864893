import { Injectable } from '@nestjs/common';
import { DatabaseConnection } from '@tallystick/persistence';
import { BrokerWatcherConfig } from '../broker-watcher.config.js';
import type { Uptime } from '../sys-metrics/uptime.js';

export interface StoredState {
  version: string | undefined;
  startedAtMs: number | undefined;
  uptime: Uptime | undefined;
  watchedUntilMs: number | undefined;
  capabilities: Record<string, unknown>;
}

/** The only writer of broker_state. */
@Injectable()
export class BrokerStateRepository {
  constructor(
    private readonly connection: DatabaseConnection,
    private readonly config: BrokerWatcherConfig,
  ) {}

  /**
   * An uptime from before the broker's last start, as its log told it, is left out: the sessions of that run are over, and the next
   * uptime, being smaller, would end those that began since. A process that was killed before it first wrote how far it watched may
   * have left a gap: where that ends it began to watch, and the next gap does not begin earlier.
   */
  async read(): Promise<StoredState> {
    const [row] = await this.connection.dataSource.query<
      {
        version: string | null;
        started_at: Date | null;
        last_uptime: string | null;
        uptime_at: Date | null;
        watched_until: Date | null;
        is_old: boolean;
      }[]
    >(
      `SELECT version, started_at, last_uptime, uptime_at,
         greatest(watched_until, (SELECT max(g.to_ts) FROM observation_gaps g WHERE g.broker = s.broker)) AS watched_until,
         EXISTS (SELECT FROM events e WHERE e.broker = s.broker AND e.action = 'unknown' AND e.received_at > s.uptime_at
                   AND e.raw ~ '^([0-9]{1,12}: )?mosquitto version [^ ]+ (starting|running)$') AS is_old
       FROM broker_state s WHERE broker = $1`,
      [this.config.brokerName],
    );
    const hasUptime = row?.last_uptime != null && row.uptime_at !== null && !row.is_old;
    return {
      version: row?.version ?? undefined,
      startedAtMs: row?.started_at?.getTime(),
      uptime: hasUptime ? { uptimeS: Number(row.last_uptime), atMs: row.uptime_at!.getTime(), retained: false } : undefined,
      watchedUntilMs: row?.watched_until?.getTime(),
      capabilities: {},
    };
  }

  /** What is undefined stays as it was. */
  async write({ version, startedAtMs, uptime, watchedUntilMs, capabilities }: StoredState): Promise<void> {
    const time = (ms: number | undefined) => (ms === undefined ? null : new Date(ms));
    await this.connection.dataSource.query(
      `INSERT INTO broker_state AS s (broker, watcher, version, started_at, last_uptime, uptime_at, watched_until, capabilities)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
       ON CONFLICT (broker) DO UPDATE SET
         watcher = excluded.watcher, version = coalesce(excluded.version, s.version),
         started_at = coalesce(excluded.started_at, s.started_at), last_uptime = coalesce(excluded.last_uptime, s.last_uptime),
         uptime_at = coalesce(excluded.uptime_at, s.uptime_at), watched_until = coalesce(excluded.watched_until, s.watched_until),
         capabilities = excluded.capabilities`,
      [
        this.config.brokerName,
        this.config.mqtt.clientId,
        version ?? null,
        time(startedAtMs),
        uptime?.uptimeS ?? null,
        time(uptime?.atMs),
        time(watchedUntilMs),
        JSON.stringify(capabilities),
      ],
    );
  }
}
