import { setTimeout as sleep } from 'node:timers/promises';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import type pg from 'pg';

const TICK_MS = 20;
/** Between two tries to connect: a device that does not spare the broker. */
const RECONNECT_MS = 50;

/**
 * Publishes at a steady rate, each payload once and unlike every other, and keeps its own account of what the broker took. It
 * never sends anything again: what the broker had not acknowledged when a connection broke may be there or not.
 */
export class SteadyPublisher {
  readonly acknowledged: string[] = [];
  readonly inDoubt: string[] = [];
  private sequence = 0;
  private running: Promise<void> | undefined;
  private wanted = 0;

  constructor(
    private readonly url: string,
    private readonly ratePerS: number,
    private readonly topicOf = (sequence: number) => `veep/factory${sequence % 3}/line1/meter${sequence % 11}/data`,
    private readonly login: IClientOptions = {},
  ) {}

  /** Publishes until `stop`, or until the broker has acknowledged this many. */
  start(wanted = Infinity): void {
    this.wanted = wanted;
    this.running = this.run();
  }

  /** Resolves when `wanted` are acknowledged. */
  async done(): Promise<void> {
    await this.running;
  }

  /** Publishes nothing more; resolves when all is acknowledged or in doubt. */
  async stop(): Promise<void> {
    this.wanted = 0;
    await this.running;
  }

  private async run(): Promise<void> {
    while (this.acknowledged.length < this.wanted) {
      const options = { protocolVersion: 5, reconnectPeriod: 0, ...this.login } as const;
      const client = await connectAsync(this.url, options, false).catch(() => undefined);
      if (client) await this.publishUntilOver(client);
      else await sleep(RECONNECT_MS);
    }
  }

  private async publishUntilOver(client: MqttClient): Promise<void> {
    const pending = new Set<string>();
    let over = false;
    client.on('close', () => (over = true)).on('error', () => (over = true));
    while (!over && this.acknowledged.length < this.wanted) {
      const room = Math.min((this.ratePerS * TICK_MS) / 1000, this.wanted - this.acknowledged.length - pending.size);
      for (let i = 0; i < room; i++) this.publish(client, pending);
      await sleep(TICK_MS);
    }
    // Told to stop, what is under way is waited for; the time is that of a broker which does not answer any more.
    for (const giveUpAt = Date.now() + 10_000; pending.size > 0 && !over && Date.now() < giveUpAt;) await sleep(TICK_MS);
    this.inDoubt.push(...pending);
    pending.clear();
    client.end(true);
  }

  private publish(client: MqttClient, pending: Set<string>): void {
    const sequence = this.sequence++;
    const topic = this.topicOf(sequence);
    const payload = JSON.stringify({ topic, sequence, kwh: sequence / 7 });
    pending.add(payload);
    client.publish(topic, payload, { qos: 1 }, (error) => {
      if (!error && pending.delete(payload)) this.acknowledged.push(payload);
    });
  }
}

export interface Difference {
  /** Acknowledged by the broker and not in `messages`. */
  lost: number;
  /** Rows beyond the one that a payload may have. */
  doubled: number;
  /** Rows that nobody published. */
  unknown: number;
}

/** Compares `messages` with the account of a publisher, or of several that have a topic each, as multisets of payloads, in SQL and with nothing of the product. */
export async function compare(
  sql: pg.Client,
  { acknowledged, inDoubt }: Pick<SteadyPublisher, 'acknowledged' | 'inDoubt'>,
): Promise<Difference> {
  const { rows } = await sql.query<Record<keyof Difference, string>>(
    `WITH published AS (
       SELECT convert_to(payload, 'UTF8') AS payload, count(*) FILTER (WHERE sure) AS sure, count(*) AS possible
       FROM (SELECT unnest($1::text[]) AS payload, true AS sure UNION ALL SELECT unnest($2::text[]), false) all_of_them GROUP BY 1
     ), stored AS (SELECT payload, count(*) AS rows FROM messages GROUP BY 1)
     SELECT coalesce(sum(greatest(0, sure - coalesce(rows, 0))), 0) AS lost,
            coalesce(sum(greatest(0, rows - possible)) FILTER (WHERE possible IS NOT NULL), 0) AS doubled,
            coalesce(sum(rows) FILTER (WHERE possible IS NULL), 0) AS unknown
     FROM published FULL JOIN stored USING (payload)`,
    [acknowledged, inDoubt],
  );
  const { lost, doubled, unknown } = rows[0]!;
  return { lost: Number(lost), doubled: Number(doubled), unknown: Number(unknown) };
}

/** Rows of messages, the messages of all batches and those of all devices: three accounts that must agree. */
export async function totals(sql: pg.Client): Promise<{ rows: number; inBatches: number; ofDevices: number; failedBatches: number }> {
  const { rows } = await sql.query<Record<'rows' | 'inBatches' | 'ofDevices' | 'failedBatches', string>>(
    `SELECT (SELECT count(*) FROM messages) AS rows, (SELECT coalesce(sum(message_count), 0) FROM batches) AS "inBatches",
            (SELECT coalesce(sum(message_count), 0) FROM devices) AS "ofDevices",
            (SELECT count(*) FROM batches WHERE status = 'failed') AS "failedBatches"`,
  );
  const [all] = rows;
  const of = (name: keyof NonNullable<typeof all>) => Number(all![name]);
  return { rows: of('rows'), inBatches: of('inBatches'), ofDevices: of('ofDevices'), failedBatches: of('failedBatches') };
}
