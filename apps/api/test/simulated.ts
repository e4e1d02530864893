import { type RunningApp, startApp, startTestBroker, until } from '@tallystick/testing';
import { connectAsync } from 'mqtt';
import { Api } from './api.js';

export interface Simulated {
  api: Api;
  stop(): Promise<void>;
}

/** All of `npm run dev`: broker, bridge, watcher and API, with what simulated devices have sent, and six messages that were refused. */
export async function startSimulated(env: Record<string, string> = {}): Promise<Simulated> {
  const api = await Api.start(env);
  const broker = await startTestBroker({ configLines: ['sys_interval 1'] });
  const common = { DATABASE_URL: api.databaseUrl, DATABASE_ALLOW_DATA_LOSS: 'true', MQTT_URL: broker.url };
  const apps: RunningApp[] = [];
  for (const [name, own] of [
    ['broker-watcher', {}],
    ['ingest-bridge', { BATCH_SIZE: '20' }],
  ] as const) {
    const app = await startApp(name, { ...common, ...own });
    await app.waitForReady();
    apps.push(app);
  }
  const devices = await startApp('cli', common, { args: ['simulate', '--count', '110', '--rate', '0'] });
  const { code } = await devices.exited;
  if (code !== 0) throw new Error(`the simulation ended with ${code}: ${JSON.stringify(devices.logs)}`);
  await publishNoJson(broker.url, 6);
  await until(async () => {
    const { rows } = await api.sql.query<{ n: string }>(
      `SELECT (SELECT count(*) FROM rejected_messages) + (SELECT least(count(*), 1) FROM broker_metrics WHERE metric = 'clients/connected') AS n`,
    );
    return Number(rows[0]!.n) === 7;
  });
  return {
    api,
    stop: async () => {
      await api.stop();
      for (const app of apps.toReversed()) expect(await app.stop()).toBe(0);
      await broker.stop();
    },
  };
}

async function publishNoJson(url: string, times: number): Promise<void> {
  const client = await connectAsync(url);
  for (let time = 0; time < times; time++) await client.publishAsync('veep/factory1/line1/METER_0001/data', 'no JSON', { qos: 1 });
  await client.endAsync();
}
