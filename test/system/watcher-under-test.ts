import { createTestDatabase, FaultProxy, type RunningApp, startApp, startTestBroker, type TestBroker } from '@tallystick/testing';
import { connectAsync, type MqttClient } from 'mqtt';
import pg from 'pg';

export const OWN = 'tallystick-watcher';

/** A broker, a watcher of it that reaches broker and database by way of proxies, and a plain connection to the database. */
export interface Watched {
  broker: TestBroker;
  toBroker: FaultProxy;
  toDatabase: FaultProxy;
  sql: pg.Client;
  env: Record<string, string>;
  app: RunningApp;
}

export async function watch({ env: more = {}, configLines = [] as string[] } = {}): Promise<Watched> {
  const broker = await startTestBroker({ configLines: ['sys_interval 1', ...configLines] });
  const { url } = await createTestDatabase();
  const sql = new pg.Client({ connectionString: url });
  sql.on('error', () => undefined);
  await sql.connect();
  const [toBroker, toDatabase] = [await FaultProxy.start(broker.port), await FaultProxy.start(Number(new URL(url).port))];
  const databaseUrl = Object.assign(new URL(url), { port: String(toDatabase.port) }).href;
  const mqttUrl = `mqtt://127.0.0.1:${toBroker.port}`;
  const env = { DATABASE_URL: databaseUrl, DATABASE_ALLOW_DATA_LOSS: 'true', MQTT_URL: mqttUrl, ...more };
  return { broker, toBroker, toDatabase, sql, env, app: await startWatcher(env) };
}

export async function startWatcher(env: Record<string, string>): Promise<RunningApp> {
  const app = await startApp('broker-watcher', env);
  await app.waitForReady();
  return app;
}

export async function number(sql: pg.Client, text: string): Promise<number> {
  const { rows } = await sql.query<{ n: number }>(text);
  return rows[0]!.n;
}

export async function metric(app: RunningApp, series: string): Promise<number> {
  const text = await (await fetch(`${app.url}/metrics`)).text();
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
  return Number(line?.split(' ').at(-1));
}

export const connect = (url: string, clientId: string): Promise<MqttClient> =>
  connectAsync(url, { protocolVersion: 4, clientId, reconnectPeriod: 0 });
