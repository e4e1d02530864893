/** What a broker counts about itself, and how Mosquitto 2.0 prints it under `$SYS/broker/` (src/sys_tree.c). */

export interface Traffic {
  messagesReceived: number;
  messagesSent: number;
  publishReceived: number;
  publishSent: number;
  publishBytesReceived: number;
  publishBytesSent: number;
  bytesReceived: number;
  bytesSent: number;
  /** connections of any kind, and those that became clients */
  sockets: number;
  connections: number;
}

interface Session {
  connected: boolean;
  clean: boolean;
  topics: Set<string>;
}

/** The averages of the last 1, 5 and 15 minutes, per minute. */
const LOAD_MINUTES = [1, 5, 15];

export class BrokerCensus {
  readonly traffic: Traffic = {
    messagesReceived: 0,
    messagesSent: 0,
    publishReceived: 0,
    publishSent: 0,
    publishBytesReceived: 0,
    publishBytesSent: 0,
    bytesReceived: 0,
    bytesSent: 0,
    sockets: 0,
    connections: 0,
  };
  private readonly sessions = new Map<string, Session>();
  private readonly retainedTopics = new Set<string>();
  private readonly loads = new Map<string, number>();
  private lastTraffic: Traffic = { ...this.traffic };
  private mostSessions = 0;

  connected(id: string, clean: boolean): void {
    const topics = clean ? new Set<string>() : (this.sessions.get(id)?.topics ?? new Set<string>());
    this.sessions.set(id, { connected: true, clean, topics });
    this.mostSessions = Math.max(this.mostSessions, this.sessions.size);
  }

  /** A clean session ends with its connection, a stored one stays with its subscriptions. */
  disconnected(id: string): void {
    const session = this.sessions.get(id);
    if (!session) return;
    if (session.clean) this.sessions.delete(id);
    else session.connected = false;
  }

  subscribed(id: string, topic: string): void {
    this.sessions.get(id)?.topics.add(topic);
  }

  unsubscribed(id: string, topic: string): void {
    this.sessions.get(id)?.topics.delete(topic);
  }

  /** An empty retained message deletes the one before (MQTT 3.3.1.3). */
  retained(topic: string, sizeBytes: number): void {
    if (sizeBytes > 0) this.retainedTopics.add(topic);
    else this.retainedTopics.delete(topic);
  }

  /** Every topic below `$SYS/broker/` with its payload. Advances the load averages by `elapsedSeconds` since the last call. */
  sample(uptimeSeconds: number, elapsedSeconds: number): Map<string, string> {
    const sessions = [...this.sessions.values()];
    const connected = sessions.filter((session) => session.connected).length;
    const topics = sessions.flatMap((session) => [...session.topics]);
    const shared = topics.filter((topic) => topic.startsWith('$share/')).length;
    const { traffic } = this;
    const counts: Record<string, number> = {
      'clients/total': sessions.length,
      'clients/maximum': this.mostSessions,
      'clients/connected': connected,
      'clients/active': connected,
      'clients/disconnected': sessions.length - connected,
      'clients/inactive': sessions.length - connected,
      'clients/expired': 0,
      'messages/received': traffic.messagesReceived,
      'messages/sent': traffic.messagesSent,
      'publish/messages/received': traffic.publishReceived,
      'publish/messages/sent': traffic.publishSent,
      'publish/messages/dropped': 0,
      'publish/bytes/received': traffic.publishBytesReceived,
      'publish/bytes/sent': traffic.publishBytesSent,
      'bytes/received': traffic.bytesReceived,
      'bytes/sent': traffic.bytesSent,
      'subscriptions/count': topics.length,
      'shared_subscriptions/count': shared,
      'retained messages/count': this.retainedTopics.size,
    };
    const values = new Map(Object.entries(counts).map(([topic, count]) => [topic, String(count)]));
    values.set('uptime', `${Math.floor(uptimeSeconds)} seconds`);
    for (const [topic, load] of this.sampleLoads(elapsedSeconds)) values.set(topic, load.toFixed(2));
    return values;
  }

  /** Exponentially weighted, as in Mosquitto: load = rate + e^(-seconds / 60 / minutes) * (load - rate). */
  private sampleLoads(elapsedSeconds: number): Map<string, number> {
    const { traffic, lastTraffic } = this;
    const measured: Record<string, keyof Traffic> = {
      'messages/received': 'messagesReceived',
      'messages/sent': 'messagesSent',
      'publish/received': 'publishReceived',
      'publish/sent': 'publishSent',
      'bytes/received': 'bytesReceived',
      'bytes/sent': 'bytesSent',
      sockets: 'sockets',
      connections: 'connections',
    };
    for (const [name, key] of Object.entries(measured)) {
      const perMinute = elapsedSeconds > 0 ? ((traffic[key] - lastTraffic[key]) * 60) / elapsedSeconds : 0;
      for (const minutes of LOAD_MINUTES) {
        const topic = `load/${name}/${minutes}min`;
        const load = this.loads.get(topic) ?? 0;
        this.loads.set(topic, perMinute + Math.exp(-elapsedSeconds / 60 / minutes) * (load - perMinute));
      }
    }
    this.lastTraffic = { ...traffic };
    return this.loads;
  }
}
