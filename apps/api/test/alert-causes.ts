import type { RunningApp } from '@tallystick/testing';
import type pg from 'pg';

/** What a broker published, each value with how many seconds ago it came, in order of arrival. */
export async function values(
  sql: pg.Client,
  broker: string,
  metric: string,
  ...series: [secondsAgo: number, value: number][]
): Promise<void> {
  await sql.query(`INSERT INTO broker_state (broker) VALUES ($1) ON CONFLICT DO NOTHING`, [broker]);
  await sql.query(`SELECT ensure_history_partitions(now() - interval '1 day', now())`);
  for (const [secondsAgo, value] of series) {
    await sql.query(`INSERT INTO broker_metrics (broker, metric, value, ts) VALUES ($1, $2, $3, now() - $4 * interval '1 second')`, [
      broker,
      metric,
      value,
      secondsAgo,
    ]);
  }
}

/** A broker drops 12 messages. */
export const drop = (sql: pg.Client, broker = 'local') => values(sql, broker, 'publish/messages/dropped', [60, 5], [1, 17]);

/** The value of one series of a process's metrics. */
export async function metric(app: RunningApp, series: string): Promise<number> {
  const text = await (await fetch(`${app.url}/metrics`)).text();
  return Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${series} `))
      ?.slice(series.length + 1),
  );
}
