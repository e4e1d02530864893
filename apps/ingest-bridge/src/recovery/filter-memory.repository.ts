import { Injectable } from '@nestjs/common';
import type { FilterMemory } from '@tallystick/mqtt';
import { DatabaseConnection } from '@tallystick/persistence';
import { IngestBridgeConfig } from '../ingest-bridge.config.js';

/** The only writer of `receivers`. */
@Injectable()
export class FilterMemoryRepository implements FilterMemory {
  constructor(
    private readonly connection: DatabaseConnection,
    private readonly config: IngestBridgeConfig,
  ) {}

  async load(): Promise<string[]> {
    const rows = await this.connection.dataSource.query<{ filters: string[] }[]>(`SELECT filters FROM receivers WHERE receiver = $1`, [
      this.config.mqtt.clientId,
    ]);
    return rows[0]?.filters ?? [];
  }

  async save(filters: string[]): Promise<void> {
    await this.connection.dataSource.query(
      `INSERT INTO receivers (receiver, filters) VALUES ($1, $2)
       ON CONFLICT (receiver) DO UPDATE SET filters = excluded.filters, updated_at = now()`,
      [this.config.mqtt.clientId, filters],
    );
  }
}
