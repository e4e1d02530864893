import { Injectable } from '@nestjs/common';
import { DatabaseConnection } from '@tallystick/persistence';
import { IngestBridgeConfig } from '../ingest-bridge.config.js';

/** How many rejections were removed for being too old, and how many to make room. */
export interface Trim {
  age: number;
  size: number;
  /** The quarantine is still beyond its bound. */
  more: boolean;
}

/** Removes rejections; TelemetryRepository alone stores them. */
@Injectable()
export class QuarantineRepository {
  constructor(
    private readonly connection: DatabaseConnection,
    private readonly config: IngestBridgeConfig,
  ) {}

  /** Removes and records one portion of what is too old or too much, in a transaction of its own. `busy`: another bridge is at it. */
  async trim(): Promise<Trim | 'busy'> {
    const { quarantineMaxBytes, quarantineMaxAgeDays } = this.config;
    const [trim] = await this.connection.dataSource.query<Trim[]>(
      `SELECT removed_by_age AS age, removed_by_size AS size, more FROM trim_quarantine($1, make_interval(days => $2))`,
      [quarantineMaxBytes, quarantineMaxAgeDays],
    );
    return trim ?? 'busy';
  }
}
