import { ApiProperty } from '@nestjs/swagger';
import { GAP_REASONS, type GapReason } from '@tallystick/persistence';
import { OrNull } from '../http/documented.js';
import { ListQuery } from '../http/list-query.dto.js';
import { Identifier, Instant } from '../http/parameters.js';

export const BROKER_STATES = ['watched', 'unwatched', 'never_watched'] as const;
export type BrokerStateName = (typeof BROKER_STATES)[number];

export class BrokerPath {
  /**
   * `BROKER_NAME` of the broker's watcher.
   * @example 'local'
   */
  @Identifier({ required: true })
  broker: string;
}

export class BrokerSummary {
  /** @example 'local' */
  broker: string;
  /** `watched`: the watcher was connected to it within the last 10 s. `unwatched`: it was not; watcher or broker are away. */
  @ApiProperty({ enum: BROKER_STATES, example: 'watched' })
  state: BrokerStateName;
  /** As the broker says it. */
  @ApiProperty({ type: String, nullable: true, example: 'mosquitto version 2.0.22' })
  version: string | null;
  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: '2026-11-20T06:00:00.000Z' })
  startedAt: Date | null;
  /** MQTT client id of the watcher. */
  @ApiProperty({ type: String, nullable: true, example: 'tallystick-watcher' })
  watcher: string | null;
  /** The watcher was connected until then, at least. */
  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: '2026-11-21T08:05:00.000Z' })
  watchedUntil: Date | null;
}

export class BrokerPage {
  items: BrokerSummary[];
  /** Goes into `cursor` for the next page; null on the last one. */
  @ApiProperty({ type: String, nullable: true, example: null })
  nextCursor: string | null;
}

export class GapsQuery extends ListQuery {
  /** Gaps that last beyond this time (RFC 3339 with offset). */
  @Instant()
  from?: Date;

  /** Gaps that began before this time; at most 366 days after `from`. */
  @Instant({ example: '2026-11-22T08:00:00Z' })
  to?: Date;
}

export class GapSummary {
  /**
   * A 64-bit integer.
   * @example '3'
   */
  gapId: string;
  /** @example '2026-11-21T07:00:00.000Z' */
  fromTs: Date;
  /** @example '2026-11-21T07:01:30.000Z' */
  toTs: Date;
  /** @example 90000 */
  @ApiProperty({ type: 'integer' })
  durationMs: number;
  @ApiProperty({ enum: GAP_REASONS, example: 'watcher_down' })
  reason: GapReason;
}

export class GapPage {
  items: GapSummary[];
  /** Goes into `cursor` for the next page; null on the last one. */
  @ApiProperty({ type: String, nullable: true, example: null })
  nextCursor: string | null;
}

export class BrokerDetails extends BrokerSummary {
  /** The last heartbeat: a value of `uptime`. */
  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: '2026-11-21T08:04:55.000Z' })
  heartbeatAt: Date | null;
  /** No heartbeat for longer than three times its usual interval, and than 30 s. */
  isStale: boolean;
  /** How long the broker had been running at `heartbeatAt`. */
  @ApiProperty({ type: 'integer', nullable: true, example: 93895 })
  uptimeSeconds: number | null;
  /**
   * Sessions that are open by the log; while nobody watches they may be over.
   * @example 17
   */
  @ApiProperty({ type: 'integer' })
  openSessions: number;
  /**
   * Of all clients, connected or not.
   * @example 34
   */
  @ApiProperty({ type: 'integer' })
  activeSubscriptions: number;
  @OrNull(GapSummary)
  lastGap: OrNull<GapSummary>;
}

export class BrokerAdvice {
  /** @example 'no_subscribe_lines' */
  code: string;
  /** @example 'no subscription has been logged: they are not in the default set of log types' */
  problem: string;
  /**
   * Lines for mosquitto.conf, or for its ACL file when they begin with `topic`.
   * @example ['log_type subscribe', 'log_type unsubscribe']
   */
  lines: string[];
}

export class UnknownLines {
  /**
   * First words of the lines, numbers as 0.
   * @example 'Warning: something new at 0'
   */
  shape: string;
  /** @example 12 */
  @ApiProperty({ type: 'integer' })
  count: number;
}

export class BrokerDiagnostics extends BrokerSummary {
  /**
   * When the following was counted.
   * @example '2026-11-21T08:05:01.000Z'
   */
  checkedAt: Date;
  /** The last heartbeat: a value of `uptime`. */
  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: '2026-11-21T08:04:55.000Z' })
  heartbeatAt: Date | null;
  /** No heartbeat for longer than three times its usual interval, and than 30 s: metrics say how it was then. */
  isStale: boolean;
  /**
   * Sessions that are open by the log.
   * @example 17
   */
  @ApiProperty({ type: 'integer' })
  openSessions: number;
  /**
   * Of the open sessions those whose beginning was not seen, or that were open across a gap; all of them while nobody watches.
   * @example 0
   */
  @ApiProperty({ type: 'integer' })
  uncertainSessions: number;
  /** Connections as the broker counts them: the last `clients/connected`. Mosquitto counts bare TCP connections too. */
  @ApiProperty({ type: Number, nullable: true, example: 17 })
  connectedClients: number | null;
  /** When the broker counted them last, or found them changed. */
  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: '2026-11-21T08:04:55.000Z' })
  connectedClientsAt: Date | null;
  /** Open sessions less connections as the broker counts them. Not zero for long: log lines are missing. Null while `isStale`. */
  @ApiProperty({ type: Number, nullable: true, example: 0 })
  drift: number | null;
  /**
   * Gaps of the last 24 hours. One that still lasts is not among them: it began at `watchedUntil`.
   * @example 1
   */
  @ApiProperty({ type: 'integer' })
  gaps24h: number;
  @OrNull(GapSummary)
  lastGap: OrNull<GapSummary>;
  /** Lines that the watcher did not understand since it was started, by shape; most frequent first. */
  unknownLines: UnknownLines[];
  /** What keeps the history from being complete, and what mends it; most important first. As the watcher saw it last. */
  advice: BrokerAdvice[];
}
