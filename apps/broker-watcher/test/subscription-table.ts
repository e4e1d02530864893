import type { HistoryChanges } from '../src/sessions/broker-history.js';

interface Row {
  client: string;
  topic: string;
  qos: number;
  active: boolean;
  uncertain: boolean;
}

/** What the table `subscriptions` would hold: the same rules as the recorder's statements, without a database. */
export class SubscriptionTable {
  readonly rows = new Map<string, Row>();

  take({ subscriptions }: HistoryChanges): void {
    for (const [client, { fate, topics }] of subscriptions) {
      for (const row of this.rows.values()) {
        if (!fate || row.client !== client || (!row.active && !row.uncertain)) continue;
        row.active &&= fate === 'doubtful';
        row.uncertain = fate !== 'dropped';
      }
      for (const [topic, { qos, active, uncertain }] of topics) {
        const key = `${client} ${topic}`;
        this.rows.set(key, { client, topic, qos: qos ?? this.rows.get(key)?.qos ?? 0, active, uncertain });
      }
    }
  }

  /** `client topic qos` of the active ones among these `client topic`, sorted. */
  active(among: ReadonlySet<string>): string[] {
    return [...this.rows]
      .filter(([key, row]) => row.active && among.has(key))
      .map(([key, row]) => `${key} ${row.qos}`)
      .sort();
  }
}
