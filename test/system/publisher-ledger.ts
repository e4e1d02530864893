import { onCleanUp } from '@tallystick/testing';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectAsync, type MqttClient } from 'mqtt';

export interface LedgerEntry {
  topic: string;
  payload: string | Buffer;
}

export interface LoadOptions {
  ratePerS: number;
  /** Stops by itself after so many; without it `stop` ends the load. */
  total?: number;
  tenants?: number;
  devices?: number;
  /** Bytes of filling per payload. */
  padding?: number;
}

export interface Load {
  /** Publishes nothing more and resolves when everything published is acknowledged. */
  stop(): Promise<void>;
  /** Everything of `total` is published and acknowledged. */
  done: Promise<void>;
}

/** Publishes not acknowledged yet by the broker, at most. */
const MOST_UNDERWAY = 1_000;
const TICK_MS = 10;

/** A publisher that keeps its own book: what the broker acknowledged to it, message by message, in the order of publishing. */
export class PublisherLedger {
  /** Acknowledged by the broker: from here on nobody may lose it. */
  readonly acknowledged: LedgerEntry[] = [];
  private readonly sequences = new Map<string, number>();
  private underway = 0;
  private ended = false;

  private constructor(private readonly client: MqttClient) {}

  static async connect(url: string): Promise<PublisherLedger> {
    const ledger = new PublisherLedger(await connectAsync(url, { protocolVersion: 5, keepalive: 600 }));
    // Also when a spec fails half-way: a publisher that goes on would break the spec files that follow.
    onCleanUp(() => {
      ledger.ended = true;
      ledger.client.end(true);
      return Promise.resolve();
    });
    return ledger;
  }

  /** Resolves when the broker has acknowledged it. */
  async publish(topic: string, payload: string | Buffer): Promise<void> {
    this.underway += 1;
    await this.client.publishAsync(topic, payload, { qos: 1 });
    this.underway -= 1;
    this.acknowledged.push({ topic, payload });
  }

  /** A payload no other publish of this ledger has; `seq` rises by one for each topic. */
  nextPayload(topic: string, padding = 0): string {
    const seq = (this.sequences.get(topic) ?? 0) + 1;
    this.sequences.set(topic, seq);
    return JSON.stringify({ seq, kwh: seq / 7, ...(padding > 0 && { pad: 'x'.repeat(padding) }) });
  }

  /** Publishes at an even rate, whatever becomes of the messages; `veep/tenant<n>/site/device<n>/data`. */
  load({ ratePerS, total = Infinity, tenants = 3, devices = 20, padding = 0 }: LoadOptions): Load {
    let stopped = false;
    const run = async () => {
      const startedAtMs = performance.now();
      const publishing = new Set<Promise<void>>();
      for (let sent = 0; sent < total && !stopped && !this.ended; await sleep(TICK_MS)) {
        const due = Math.min(total, Math.floor(((performance.now() - startedAtMs) / 1000) * ratePerS));
        for (; sent < due && this.underway < MOST_UNDERWAY; sent++) {
          const topic = `veep/tenant${sent % tenants}/site/device${sent % devices}/data`;
          const publish = this.publish(topic, this.nextPayload(topic, padding));
          publishing.add(publish);
          const forget = () => publishing.delete(publish);
          publish.then(forget, forget);
        }
      }
      await Promise.all(publishing);
    };
    const done = run();
    done.catch(() => undefined); // for who awaits it; a spec that failed before does not
    return {
      done,
      stop: () => {
        stopped = true;
        return done;
      },
    };
  }

  async end(): Promise<void> {
    await this.client.endAsync();
  }
}
