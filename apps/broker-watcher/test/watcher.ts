import { createTestDatabase, type RunningApp, startApp, type TestDatabase, until } from '@tallystick/testing';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import pg from 'pg';

export const OWN_CLIENT = 'tallystick-watcher';

/** A built watcher with a database of its own, and a plain connection to look at what it recorded. */
export interface Watcher {
  app: RunningApp;
  database: TestDatabase;
  sql: pg.Client;
  env: Record<string, string>;
}

export async function startWatcher(mqttUrl: string, env: Record<string, string> = {}): Promise<Watcher> {
  const database = await createTestDatabase();
  const sql = new pg.Client({ connectionString: database.url });
  // The database is dropped under the connection when the spec's file ends.
  sql.on('error', () => undefined);
  await sql.connect();
  const complete = { DATABASE_URL: database.url, DATABASE_ALLOW_DATA_LOSS: 'true', MQTT_URL: mqttUrl, ...env };
  return { app: await readyWatcher(complete), database, sql, env: complete };
}

export async function readyWatcher(env: Record<string, string>): Promise<RunningApp> {
  const app = await startApp('broker-watcher', env);
  await app.waitForReady();
  return app;
}

/** A client that is connected and stays away once it is gone. */
export function client(url: string, clientId: string, options: IClientOptions = {}): Promise<MqttClient> {
  return connectAsync(url, { protocolVersion: 4, clientId, reconnectPeriod: 0, ...options });
}

export interface SessionRow {
  client: string;
  username: string | null;
  end_reason: string | null;
  ended_by: string | null;
  is_open: boolean;
  protocol_version: number | null;
  clean_start: boolean | null;
  start_uncertain: boolean;
  end_uncertain: boolean;
  ms: number;
}

/** Sessions but the watcher's own, in order of their beginning. */
export async function sessions(sql: pg.Client, like = '%'): Promise<SessionRow[]> {
  const { rows } = await sql.query<SessionRow>(
    `SELECT *, end_ts IS NULL AS is_open, (extract(epoch FROM coalesce(end_ts, now()) - start_ts) * 1000)::int AS ms
     FROM sessions WHERE client <> $1 AND client LIKE $2 ORDER BY id`,
    [OWN_CLIENT, like],
  );
  return rows;
}

/** The sessions of clients once as many as expected are over. */
export function endedSessions(sql: pg.Client, like: string, count: number): Promise<SessionRow[]> {
  return until(async () => {
    const rows = await sessions(sql, like);
    return rows.filter((row) => !row.is_open).length === count && rows;
  });
}

export async function activeSubscriptions(sql: pg.Client): Promise<string[]> {
  const { rows } = await sql.query<{ line: string }>(
    `SELECT client || ' | ' || topic || ' | ' || qos AS line FROM subscriptions WHERE active AND client <> $1 ORDER BY line`,
    [OWN_CLIENT],
  );
  return rows.map((row) => row.line);
}

export async function metric(app: RunningApp, series: string): Promise<number> {
  const text = await (await fetch(`${app.url}/metrics`)).text();
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
  return Number(line?.split(' ').at(-1));
}
