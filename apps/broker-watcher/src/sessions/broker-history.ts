import type { Dialect } from '../log-lines/dialect.js';
import type { LogLine, OpenClients } from '../log-lines/log-line.js';
import { type ClientSubscriptions, SubscriptionBook } from '../subscriptions/subscription-book.js';
import type { Session } from './session.js';
import { SessionBook, type SessionChange } from './session-book.js';

/** When a client was first and last seen since the changes were last taken, Unix ms, and the user name of its last connection. */
export interface Sight {
  username: string | null;
  firstMs: number;
  lastMs: number;
}

/** What lines have changed. A session is here once, as it is now. */
export interface HistoryChanges {
  sessions: Set<Session>;
  subscriptions: Map<string, ClientSubscriptions>;
  clients: Map<string, Sight>;
}

/** Sessions, subscriptions and clients as the broker's log tells them, lines applied in order of arrival. Pure but for its state. */
export class BrokerHistory implements OpenClients {
  private sessions = new Set<Session>();
  private clients = new Map<string, Sight>();

  constructor(
    readonly book = new SessionBook(),
    private readonly subscriptions = new SubscriptionBook(),
  ) {}

  isOpen(client: string): boolean {
    return this.book.isOpen(client);
  }

  isOpenAt(client: string, address: string | null, port: number | null): boolean {
    return this.book.isOpenAt(client, address, port);
  }

  /** `atMs`: the line's own time, or the time of its receipt when it has none; `seenMs`: of its receipt. */
  apply(line: LogLine, atMs: number, dialect: Dialect, seenMs = atMs): SessionChange[] {
    const changes = this.note(this.book.apply(line, atMs, dialect, seenMs), atMs);
    const { client, topic } = line;
    if (client === null) return changes;
    if (line.sessionExpired) this.subscriptions.expired(client);
    if (topic === null || (line.action !== 'subscribe' && line.action !== 'unsubscribe')) return changes;
    const session = this.book.openOf(client);
    if (line.action === 'subscribe') this.subscriptions.subscribe(client, topic, line.qos, session, atMs);
    else this.subscriptions.unsubscribe(client, topic, session, atMs);
    this.sight(client, null, atMs);
    return changes;
  }

  brokerStartedAfter(startedAtMs: number): SessionChange[] {
    return this.note(this.book.brokerStartedAfter(startedAtMs), startedAtMs);
  }

  doubtAll(atMs: number): SessionChange[] {
    return this.note(this.book.doubtAll(), atMs);
  }

  takeChanges(): HistoryChanges {
    const changes = { sessions: this.sessions, subscriptions: this.subscriptions.takeChanges(), clients: this.clients };
    this.sessions = new Set();
    this.clients = new Map();
    return changes;
  }

  private note(changes: SessionChange[], atMs: number): SessionChange[] {
    for (const { kind, session } of changes) {
      this.sessions.add(session);
      if (kind === 'opened') this.subscriptions.opened(session);
      if (kind === 'closed') this.subscriptions.closed(session);
      const wasSeen = kind === 'opened' || (kind === 'closed' && session.endReason !== 'broker_restart');
      if (wasSeen) this.sight(session.client, session.username, atMs);
    }
    return changes;
  }

  private sight(client: string, username: string | null, atMs: number): void {
    const sight = this.clients.get(client);
    if (!sight) return void this.clients.set(client, { username, firstMs: atMs, lastMs: atMs });
    sight.username = username ?? sight.username;
    sight.firstMs = Math.min(sight.firstMs, atMs);
    sight.lastMs = Math.max(sight.lastMs, atMs);
  }
}
