import { ApiProperty } from '@nestjs/swagger';
import { Text } from '../http/parameters.js';
import { BrokerPath } from './brokers.dto.js';
import { ClientSummary, SessionSummary } from './sessions.dto.js';
import { SubscriptionSummary } from './subscriptions.dto.js';

/** MQTT's own limit of a client id, in bytes (MQTT 5 section 1.5.4). */
const LONGEST_CLIENT = 65_535;

export class ClientPath extends BrokerPath {
  /**
   * The client id, exactly, URL-encoded: `a/b` is `a%2Fb`. Programs resolve `.` and `..` as folders, encoded or not: of clients of these
   * two ids ask the lists with `client=`.
   * @example 'ingest-bridge-1'
   */
  @Text({ max: LONGEST_CLIENT, required: true })
  client: string;
}

export class ClientDetails extends ClientSummary {
  /** Null while nobody watches the broker: that is not known. */
  @ApiProperty({ type: Boolean, nullable: true, example: true })
  connected: boolean | null;
  /**
   * Sessions that began within the last 24 hours.
   * @example 4
   */
  @ApiProperty({ type: 'integer' })
  sessions24h: number;
  /**
   * Sessions that began within the last 7 days.
   * @example 21
   */
  @ApiProperty({ type: 'integer' })
  sessions7d: number;
  /** @example 2 */
  @ApiProperty({ type: 'integer' })
  activeSubscriptions: number;
  /** The last 10, newest first, the open one among them; `…/sessions?client=` lists all. */
  recentSessions: SessionSummary[];
  /** The active ones by topic filter, 50 at most; `…/subscriptions?client=` lists all. */
  subscriptions: SubscriptionSummary[];
}
