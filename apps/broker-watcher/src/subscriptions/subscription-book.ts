import type { Session } from '../sessions/session.js';

/**
 * What becomes of a client's subscriptions beyond those named: `dropped` by the broker, `lost` (dropped unless the session has an
 * expiry of its own, which MQTT 5 has and the log does not tell), `doubtful` (kept if it has one). The strongest first.
 */
export const FATES = ['dropped', 'lost', 'doubtful'] as const;
export type Fate = (typeof FATES)[number];

export interface SubscriptionState {
  qos: number | null;
  active: boolean;
  /** The broker may know better: see Fate. */
  uncertain: boolean;
  session: Session | undefined;
  atMs: number;
}

/** The fate comes first, then the topics. */
export interface ClientSubscriptions {
  fate: Fate | undefined;
  topics: Map<string, SubscriptionState>;
}

/** Subscriptions by client and topic: what changed since it was last asked. */
export class SubscriptionBook {
  private changes = new Map<string, ClientSubscriptions>();

  subscribe(client: string, topic: string, qos: number | null, session: Session | undefined, atMs: number): void {
    this.changesOf(client).topics.set(topic, { qos, active: true, uncertain: false, session, atMs });
  }

  unsubscribe(client: string, topic: string, session: Session | undefined, atMs: number): void {
    this.changesOf(client).topics.set(topic, { qos: null, active: false, uncertain: false, session, atMs });
  }

  /** A clean start begins without subscriptions. */
  opened({ client, connect }: Session): void {
    if (connect?.cleanStart) this.decide(client, 'dropped');
  }

  closed(session: Session): void {
    const fate = fateAfter(session);
    if (fate) this.decide(session.client, fate);
  }

  /** The broker forgot the client's stored session. */
  expired(client: string): void {
    this.decide(client, 'dropped');
  }

  takeChanges(): Map<string, ClientSubscriptions> {
    const { changes } = this;
    this.changes = new Map();
    return changes;
  }

  private decide(client: string, fate: Fate): void {
    const changes = this.changesOf(client);
    if (changes.fate === undefined || FATES.indexOf(fate) < FATES.indexOf(changes.fate)) changes.fate = fate;
    for (const state of changes.topics.values()) {
      if (!state.active && !state.uncertain) continue;
      state.active &&= fate === 'doubtful';
      state.uncertain = fate !== 'dropped';
    }
  }

  private changesOf(client: string): ClientSubscriptions {
    let changes = this.changes.get(client);
    if (!changes) this.changes.set(client, (changes = { fate: undefined, topics: new Map() }));
    return changes;
  }
}

/** MQTT 3.1.1 section 3.1.2.4: a clean session ends with its connection, another is kept. Of MQTT 5 the log does not tell. */
function fateAfter({ connect }: Session): Fate | undefined {
  if (connect === null) return 'doubtful';
  if (connect.protocolVersion >= 5) return connect.cleanStart ? 'lost' : 'doubtful';
  return connect.cleanStart ? 'dropped' : undefined;
}
