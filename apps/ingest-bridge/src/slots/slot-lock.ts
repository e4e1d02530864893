import pg from 'pg';

/** Beyond what one group is scaled to; a bridge that finds all of them held waits for one. */
const MOST_SLOTS = 1_000;

/**
 * A connection of its own that holds one slot of a group: an advisory lock, so that a slot is free the moment its process is dead, and
 * nobody has to guess by clocks. `receiver_slots` remembers since when a slot is without a holder. Needs a connection to PostgreSQL
 * itself or through a pooler that pools by session.
 */
export class SlotLock {
  /** Monotonic ms. */
  readonly heldSinceMs = performance.now();

  private constructor(
    private readonly client: pg.Client,
    private readonly group: string,
    readonly slot: number,
  ) {}

  /** The lowest slot that is free, or the one asked for; undefined when there is none. Throws when the database cannot be asked. */
  static async take(connectionUrl: string, group: string, only?: number): Promise<SlotLock | undefined> {
    const client = new pg.Client({
      connectionString: connectionUrl,
      application_name: 'ingest-bridge slot',
      connectionTimeoutMillis: 2_000,
      query_timeout: 10_000,
      keepAlive: true,
    });
    // What a broken connection means shows at the next touch.
    client.on('error', () => undefined);
    await client.connect();
    try {
      // A holder whose machine is gone is given up after half a minute, not after the two hours that are usual.
      await client.query(`SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3`);
      for (let slot = only ?? 1; slot <= (only ?? MOST_SLOTS); slot++) {
        const { rows } = await client.query<{ taken: boolean }>(
          `SELECT pg_try_advisory_lock(hashtextextended('tallystick.receiver-slot.' || $1, 0)) AS taken`,
          [clientIdOf(group, slot)],
        );
        if (!rows[0]!.taken) continue;
        const lock = new SlotLock(client, group, slot);
        await lock.touch();
        return lock;
      }
    } catch (error) {
      await client.end().catch(() => undefined);
      throw error;
    }
    await client.end();
    return undefined;
  }

  /** Says that the slot is held now. Throws when the connection, and with it the slot, is lost. */
  async touch(): Promise<void> {
    await this.client.query(
      `INSERT INTO receiver_slots (slot_group, slot) VALUES ($1, $2)
       ON CONFLICT (slot_group, slot) DO UPDATE SET held_at = now(), drained_at = NULL`,
      [this.group, this.slot],
    );
  }

  /** Says that the broker holds nothing for this slot any more. */
  async markDrained(): Promise<void> {
    await this.client.query(`UPDATE receiver_slots SET drained_at = now() WHERE slot_group = $1 AND slot = $2`, [this.group, this.slot]);
  }

  /** A slot of the group that nobody has held for so long, for the caller alone to drain; undefined when there is none. */
  async takeAbandoned(afterS: number): Promise<number | undefined> {
    const { rows } = await this.client.query<{ slot: number }>(
      // held_at: for as long again it is nobody else's to drain.
      `UPDATE receiver_slots SET held_at = now()
       WHERE slot_group = $1 AND slot = (
         SELECT slot FROM receiver_slots
         WHERE slot_group = $1 AND slot <> $2 AND drained_at IS NULL AND held_at < now() - $3 * interval '1 s'
         ORDER BY slot LIMIT 1 FOR UPDATE SKIP LOCKED)
       RETURNING slot`,
      [this.group, this.slot, afterS],
    );
    return rows[0]?.slot;
  }

  async release(): Promise<void> {
    await this.client.end().catch(() => undefined);
  }
}

/** The MQTT client id of a slot. */
export function clientIdOf(group: string, slot: number): string {
  return `${group}-${slot}`;
}
