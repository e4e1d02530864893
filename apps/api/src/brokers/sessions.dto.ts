import { ApiExtraModels, ApiProperty } from '@nestjs/swagger';
import { END_REASONS, ENDED_BY, type EndedBy, type EndReason } from '@tallystick/persistence';
import { MAX_TEXT_LENGTH } from '../http/cursor.js';
import { OrNull } from '../http/documented.js';
import { ListQuery } from '../http/list-query.dto.js';
import { Flag, Instant, OneOf, Text } from '../http/parameters.js';

export class ClientsQuery extends ListQuery {
  /**
   * This client id, exactly.
   * @example 'ingest-bridge-1'
   */
  @Text({ max: MAX_TEXT_LENGTH })
  client?: string;

  /**
   * Client ids that begin so.
   * @example 'ingest-'
   */
  @Text({ max: MAX_TEXT_LENGTH })
  clientPrefix?: string;

  /** `true`: those that are connected now, or were when the broker was last watched (`endUncertain` of the session); `false`: the others. */
  @Flag()
  connected?: boolean;

  /** `true`: those that are connected now and were never before, as far as anybody watched; `false`: the others. */
  @Flag()
  seenOnlyNow?: boolean;
}

/** What is known of a connection. */
export class Connection {
  /**
   * A 64-bit integer.
   * @example '4711'
   */
  sessionId: string;
  /**
   * By the broker's clock, whole seconds.
   * @example '2026-11-21T08:00:00.000Z'
   */
  startTs: Date;
  @ApiProperty({ type: String, nullable: true, example: '192.0.2.7' })
  address: string | null;
  /** Null also where the broker does not log it (Mosquitto 1.6). */
  @ApiProperty({ type: 'integer', nullable: true, example: 51864 })
  port: number | null;
  /** 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5; null when the connection itself was not seen. */
  @ApiProperty({ type: 'integer', nullable: true, example: 5 })
  protocolVersion: number | null;
  @ApiProperty({ type: Boolean, nullable: true, example: true })
  cleanStart: boolean | null;
  /** Seconds. */
  @ApiProperty({ type: 'integer', nullable: true, example: 60 })
  keepalive: number | null;
  /** It began before `startTs`: its connection was not seen. */
  startUncertain: boolean;
  /**
   * It was open while nobody watched, so it may have ended, and another begun, unseen. Also of every open session while nobody
   * watches (`state` of the broker is not `watched`): it was open at `watchedUntil`, and may be over.
   */
  endUncertain: boolean;
}

@ApiExtraModels(Connection)
export class ClientSummary {
  /**
   * Exactly as the client sent it.
   * @example 'meter-0001'
   */
  client: string;
  /** Of the last connection that gave one. */
  @ApiProperty({ type: String, nullable: true, example: 'meters' })
  username: string | null;
  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: '2026-11-01T06:00:00.000Z' })
  firstSeen: Date | null;
  /** Its last log line; a connected client that does nothing new writes none. */
  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: '2026-11-21T08:00:00.000Z' })
  lastSeen: Date | null;
  /** It is the watcher of this broker. */
  isWatcher: boolean;
  /** The open session; null when the client is not connected. With `endUncertain` it may be over. */
  @OrNull(Connection)
  session: OrNull<Connection>;
}

export class ClientPage {
  items: ClientSummary[];
  /** Goes into `cursor` for the next page; null on the last one. */
  @ApiProperty({ type: String, nullable: true, example: null })
  nextCursor: string | null;
}

export class SessionsQuery extends ListQuery {
  /**
   * This client id, exactly.
   * @example 'ingest-bridge-1'
   */
  @Text({ max: MAX_TEXT_LENGTH })
  client?: string;

  /** `true`: open ones; `false`: those that are over. */
  @Flag()
  open?: boolean;

  /** Who closed the connection. */
  @OneOf(ENDED_BY)
  endedBy?: EndedBy;

  /** Why it ended. */
  @OneOf(END_REASONS)
  endReason?: EndReason;

  /** Begun at or after this time (RFC 3339 with offset). */
  @Instant()
  from?: Date;

  /** Begun before this time; at most 366 days after `from`. */
  @Instant({ example: '2026-11-22T08:00:00Z' })
  to?: Date;
}

export class SessionSummary extends Connection {
  /** @example 'meter-0001' */
  client: string;
  @ApiProperty({ type: String, nullable: true, example: 'meters' })
  username: string | null;
  /** Null while it is open. */
  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: '2026-11-21T08:05:00.000Z' })
  endTs: Date | null;
  /**
   * Until now for an open one, or until the broker was last watched.
   * @example 300000
   */
  @ApiProperty({ type: 'integer' })
  durationMs: number;
  @ApiProperty({ type: String, enum: [...END_REASONS, null], nullable: true, example: 'clean_disconnect' })
  endReason: EndReason | null;
  /** Who closed the connection. */
  @ApiProperty({ type: String, enum: [...ENDED_BY, null], nullable: true, example: 'client' })
  endedBy: EndedBy | null;
}

export class SessionPage {
  items: SessionSummary[];
  /** Goes into `cursor` for the next page; null on the last one. */
  @ApiProperty({ type: String, nullable: true, example: null })
  nextCursor: string | null;
}
