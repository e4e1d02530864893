import { Injectable } from '@nestjs/common';
import { BEGIN_LIMITED, DatabaseConnection, inTransaction } from '@tallystick/persistence';
import { BrokerWatcherConfig } from '../broker-watcher.config.js';

export interface MetricValue {
  metric: string;
  value: number;
  receivedAtMs: number;
}

/** The only writer of broker_metrics, and of the notes in broker_metrics_late. */
@Injectable()
export class MetricValuesRepository {
  constructor(
    private readonly connection: DatabaseConnection,
    private readonly config: BrokerWatcherConfig,
  ) {}

  /**
   * Stores values, and notes the minutes of those that may be rolled up already: those before `settledMs`, and before what the database
   * says. DO UPDATE takes the lock of a note that is there, so that the roll-up, which removes notes before it reads values, waits for
   * this transaction or makes it wait. Only late values meet it.
   */
  async insert(values: readonly MetricValue[], settledMs: number | undefined): Promise<void> {
    await inTransaction(
      this.connection.dataSource,
      (client) =>
        client.query({
          name: 'insert-metric-values',
          text: `WITH stored AS (
                   INSERT INTO broker_metrics (broker, metric, value, ts)
                   SELECT $1::varchar, v.* FROM unnest($2::text[], $3::float8[], $4::timestamptz[]) AS v
                   RETURNING ts
                 )
                 INSERT INTO broker_metrics_late (broker, ts)
                 SELECT DISTINCT $1::varchar, date_bin('1 minute', ts, 'epoch') FROM stored
                 WHERE ts < greatest($5::timestamptz, (SELECT rolled_until FROM broker_metric_roll_ups WHERE broker = $1::varchar))
                 ORDER BY 2
                 ON CONFLICT (broker, ts) DO UPDATE SET ts = excluded.ts`,
          values: [
            this.config.brokerName,
            values.map(({ metric }) => metric),
            values.map(({ value }) => value),
            values.map(({ receivedAtMs }) => new Date(receivedAtMs)),
            settledMs === undefined ? null : new Date(settledMs),
          ],
        }),
      BEGIN_LIMITED,
    );
  }
}
