import type { DatabaseConnection } from './database-connection.js';

/** The topic filters that the session of an MQTT client id has at the broker, kept in `receivers`. */
export class ReceiverFilters {
  constructor(
    private readonly connection: DatabaseConnection,
    /** MQTT client id. */
    private readonly receiver: () => string,
  ) {}

  async load(): Promise<string[]> {
    const rows = await this.connection.dataSource.query<{ filters: string[] }[]>(`SELECT filters FROM receivers WHERE receiver = $1`, [
      this.receiver(),
    ]);
    return rows[0]?.filters ?? [];
  }

  async save(filters: string[]): Promise<void> {
    await this.connection.dataSource.query(
      `INSERT INTO receivers (receiver, filters) VALUES ($1, $2)
       ON CONFLICT (receiver) DO UPDATE SET filters = excluded.filters, updated_at = now()`,
      [this.receiver(), filters],
    );
  }
}
