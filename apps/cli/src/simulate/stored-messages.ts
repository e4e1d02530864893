import { uuidv7Floor } from '@tallystick/persistence';
import pg from 'pg';
import { deviceIdentity } from './fleet.js';
import type { SimulationPlan } from './simulation-options.js';

/** The run's first message cannot have an id from before this: clocks of bridge and simulator may differ by as much. */
const CLOCK_TOLERANCE_MS = 3_600_000;
const COUNT_TIMEOUT_MS = 60_000;
const DEVICES_PER_PAGE = 500;

/** How many messages of this run are in the record, by whoever was asked. */
export interface StoredMessages {
  count(): Promise<number>;
}

/** The one asked for the stored messages does not answer. */
export class RecordUnavailableError extends Error {
  readonly code = 'RECORD_UNAVAILABLE';
  /** sysexits.h EX_UNAVAILABLE */
  readonly exitCode = 69;

  constructor(message: string, options: { cause: unknown }) {
    super(message, options);
    this.name = 'RecordUnavailableError';
  }
}

/**
 * Counts by the run id in the payloads, so that others who send for the same devices do not count. The bound on message_id keeps
 * it to the partitions and the end of the primary key that can hold the run, with the JSON index or without. One connection a
 * count: a simulation may run for days between the first and the next.
 */
export class MessagesInDatabase implements StoredMessages {
  private constructor(
    private readonly url: string,
    private readonly run: string,
    private readonly startedAtMs: number,
  ) {}

  /** Throws RecordUnavailableError when the database cannot be asked: before the simulation, not after it. */
  static async open(url: string, run: string, startedAtMs: number): Promise<MessagesInDatabase> {
    const messages = new MessagesInDatabase(url, run, startedAtMs);
    try {
      await messages.count();
    } catch (error) {
      const reason = (error as Error).message || String((error as { code?: unknown }).code);
      const advice = (error as { code?: unknown }).code === '42P01' ? 'Run `tallystick migrate` first' : 'Start it, correct DATABASE_URL';
      throw new RecordUnavailableError(
        `The database cannot be asked for stored messages (${reason}). ${advice}, or unset DATABASE_URL to simulate without counting.`,
        { cause: error },
      );
    }
    return messages;
  }

  async count(): Promise<number> {
    const client = new pg.Client({
      connectionString: this.url,
      application_name: 'tallystick-simulate',
      connectionTimeoutMillis: 5_000,
      query_timeout: COUNT_TIMEOUT_MS,
    });
    client.on('error', () => undefined); // the query that meets it reports it
    await client.connect();
    try {
      const { rows } = await client.query<{ count: string }>('SELECT count(*) FROM messages WHERE message_id >= $1 AND raw_data @> $2', [
        uuidv7Floor(this.startedAtMs - CLOCK_TOLERANCE_MS),
        { metadata: { run: this.run } },
      ]);
      return Number(rows[0]!.count);
    } finally {
      await client.end();
    }
  }
}

/** Counts by the devices' message counters, as the API shows them: others who send for the same devices count too. */
export class MessagesInApi implements StoredMessages {
  private before = 0;

  private constructor(
    private readonly url: string,
    private readonly plan: SimulationPlan,
    private readonly apiKey: string | undefined,
  ) {}

  /** Notes the counters of now. Throws RecordUnavailableError when the API cannot be asked. */
  static async open(url: string, plan: SimulationPlan, apiKey: string | undefined): Promise<MessagesInApi> {
    const messages = new MessagesInApi(url, plan, apiKey);
    try {
      messages.before = await messages.total();
    } catch (error) {
      const reason = (error as { cause?: Error }).cause?.message || (error as Error).message;
      throw new RecordUnavailableError(
        `The API at ${url} cannot be asked for stored messages (${reason}). Start it, set TALLYSTICK_API_KEY if it wants a key, ` +
          'or leave out --api to simulate without counting.',
        { cause: error },
      );
    }
    return messages;
  }

  async count(): Promise<number> {
    return (await this.total()) - this.before;
  }

  private async total(): Promise<number> {
    const { devices, tenants } = this.plan;
    const ours = new Set<string>();
    for (let index = 0; index < devices; index++) ours.add(keyOf(deviceIdentity(index, tenants)));
    let total = 0;
    for (let tenant = 0; tenant < tenants; tenant++) {
      for await (const device of this.devicesOf(deviceIdentity(tenant, tenants).tenantId)) {
        if (ours.has(keyOf(device))) total += Number(device.messageCount);
      }
    }
    return total;
  }

  private async *devicesOf(tenantId: string): AsyncGenerator<ApiDevice> {
    for (let cursor: string | null = ''; cursor !== null;) {
      const url = new URL('/api/v1/devices', this.url);
      url.search = new URLSearchParams({ tenantId, limit: String(DEVICES_PER_PAGE), ...(cursor && { cursor }) }).toString();
      const headers: Record<string, string> = this.apiKey === undefined ? {} : { authorization: `Bearer ${this.apiKey}` };
      const response = await fetch(url, { headers, signal: AbortSignal.timeout(10_000) });
      if (!response.ok) throw new Error(`it answers ${response.status} to GET ${url.pathname}`);
      const page = (await response.json()) as { items: ApiDevice[]; nextCursor: string | null };
      yield* page.items;
      cursor = page.nextCursor;
    }
  }
}

interface ApiDevice {
  tenantId: string;
  deviceId: string;
  messageCount: string;
}

function keyOf({ tenantId, deviceId }: { tenantId: string; deviceId: string }): string {
  return `${tenantId}/${deviceId}`;
}
