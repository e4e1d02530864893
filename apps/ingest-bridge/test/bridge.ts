import { hash } from 'node:crypto';
import { createTestDatabase, type RunningApp, startApp, type TestDatabase } from '@tallystick/testing';
import { connectAsync, type MqttClient } from 'mqtt';
import pg from 'pg';

/** A built bridge with a database of its own, and plain connections to look at what it did. */
export interface Bridge {
  app: RunningApp;
  database: TestDatabase;
  sql: pg.Client;
  env: Record<string, string>;
}

export async function startBridge(mqttUrl: string, env: Record<string, string> = {}): Promise<Bridge> {
  const database = await createTestDatabase();
  const sql = new pg.Client({ connectionString: database.url });
  // The database is dropped under the connection when the spec's file ends.
  sql.on('error', () => undefined);
  await sql.connect();
  const complete = { DATABASE_URL: database.url, DATABASE_ALLOW_DATA_LOSS: 'true', MQTT_URL: mqttUrl, ...env };
  const app = await startApp('ingest-bridge', complete);
  await app.waitForReady();
  return { app, database, sql, env: complete };
}

export function publisher(url: string): Promise<MqttClient> {
  return connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0 });
}

export async function count(sql: pg.Client, table: 'messages' | 'rejected_messages'): Promise<number> {
  const { rows } = await sql.query<{ count: string }>(`SELECT count(*) FROM ${table}`);
  return Number(rows[0]!.count);
}

/** A value of /metrics, such as `name{label="value"}`. */
export async function metric(app: RunningApp, series: string): Promise<number> {
  const text = await (await fetch(`${app.url}/metrics`)).text();
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
  return Number(line?.split(' ').at(-1));
}

export function sha256(payload: Buffer | string): string {
  return hash('sha256', payload, 'hex');
}
