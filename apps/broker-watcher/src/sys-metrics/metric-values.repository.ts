import { Injectable } from '@nestjs/common';
import { DatabaseConnection } from '@tallystick/persistence';
import { BrokerWatcherConfig } from '../broker-watcher.config.js';

export interface MetricValue {
  metric: string;
  value: number;
  receivedAtMs: number;
}

/** The only writer of broker_metrics. */
@Injectable()
export class MetricValuesRepository {
  constructor(
    private readonly connection: DatabaseConnection,
    private readonly config: BrokerWatcherConfig,
  ) {}

  async insert(values: readonly MetricValue[]): Promise<void> {
    await this.connection.dataSource.query(
      `INSERT INTO broker_metrics (broker, metric, value, ts)
       SELECT $1, v.* FROM unnest($2::text[], $3::float8[], $4::timestamptz[]) AS v`,
      [
        this.config.brokerName,
        values.map(({ metric }) => metric),
        values.map(({ value }) => value),
        values.map(({ receivedAtMs }) => new Date(receivedAtMs)),
      ],
    );
  }
}
