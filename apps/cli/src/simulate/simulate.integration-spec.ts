import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadConfig, MqttSettings } from '@tallystick/config';
import { freePort, startAedes } from '@tallystick/embedded';
import { createEmptyDatabase, onCleanUp, startTestBroker, until } from '@tallystick/testing';
import { connectAsync } from 'mqtt';
import type { EnergyReading } from './energy-meter.js';
import { simulate, type SimulationOptions } from './simulate.js';
import { exitCodeOf } from './simulation-result.js';

const plan = { devices: 10, rate: 0, tenants: 2, count: 300, topicRoot: 'veep', seed: 1, qos: 1 as const };
const optionsFor = (url: string, change: Partial<SimulationOptions> = {}): SimulationOptions => ({
  ...plan,
  mqtt: loadConfig(MqttSettings, { MQTT_URL: url, MQTT_CLIENT_ID: 'ignored' }),
  ...change,
});

function outputs() {
  const texts = { progress: '', result: '' };
  const stream = (name: keyof typeof texts) => ({ write: (text: string) => (texts[name] += text) });
  return { texts, progress: stream('progress'), result: stream('result') };
}

/** Everything that is published to the broker from now on. */
async function listen(url: string): Promise<{ topic: string; payload: string }[]> {
  const client = await connectAsync(url, { protocolVersion: 4 });
  onCleanUp(() => client.endAsync(true));
  const messages: { topic: string; payload: string }[] = [];
  client.on('message', (topic, payload) => messages.push({ topic, payload: payload.toString() }));
  await client.subscribeAsync('veep/#', { qos: 1 });
  return messages;
}

describe('simulate', () => {
  it('publishes each message once over MQTT 5, under topics that name its device', async () => {
    const broker = await startTestBroker();
    const messages = await listen(broker.url);
    const output = outputs();
    const result = await simulate(optionsFor(broker.url), output);
    expect(result).toMatchObject({ published: 300, acknowledged: 300, refused: 0, withoutSubscriber: 0, stored: undefined });
    expect(exitCodeOf(result)).toBe(0);
    await until(() => messages.length === 300);
    const readings = messages.map(({ payload }) => JSON.parse(payload) as EnergyReading);
    expect(messages.every(({ topic }, i) => topic.split('/')[3] === readings[i]!.deviceId)).toBe(true);
    expect(new Set(readings.map(({ metadata }) => metadata.run))).toEqual(new Set([result.run]));
    expect(output.texts.progress).toContain('MQTT 5');
    expect(output.texts.result).toMatch(/published +300 .*\nacknowledged +300 by the broker\nstored +not asked/);
  });

  it.each([1, 2] as const)('speaks 3.1.1 to the embedded broker, which refuses 5 (QoS %i)', async (qos) => {
    const broker = await startAedes({ port: 0 });
    onCleanUp(() => broker.stop());
    const messages = await listen(broker.url);
    const output = outputs();
    expect(await simulate(optionsFor(broker.url, { qos }), output)).toMatchObject({ published: 300, acknowledged: 300 });
    expect(output.texts.progress).toContain('MQTT 3.1.1');
    await until(() => messages.length === 300);
  });

  it('keeps the rate', async () => {
    const broker = await startTestBroker();
    const { elapsedMs } = await simulate(optionsFor(broker.url, { rate: 400, count: 801 }), outputs());
    expect(Math.abs(elapsedMs - 2_000)).toBeLessThan(200);
  });

  it('says so when nobody is subscribed', async () => {
    const broker = await startTestBroker();
    const output = outputs();
    expect(await simulate(optionsFor(broker.url), output)).toMatchObject({ acknowledged: 300, withoutSubscriber: 300 });
    expect(output.texts.result).toContain('is ingest-bridge running');
  });

  it('keeps to the Receive Maximum of the broker', async () => {
    // Mosquitto tells MQTT 5 clients its max_inflight_messages as Receive Maximum, and disconnects who exceeds it.
    const broker = await startTestBroker({ configLines: ['max_inflight_messages 3'] });
    const messages = await listen(broker.url);
    expect(await simulate(optionsFor(broker.url, { qos: 2 }), outputs())).toMatchObject({ published: 300, acknowledged: 300 });
    await until(() => messages.length === 300);
  });

  it('goes on after a restart of the broker', async () => {
    const broker = await startTestBroker();
    const simulation = simulate(optionsFor(broker.url, { rate: 500, count: 1_000 }), outputs());
    await sleep(500);
    await broker.restart();
    expect(await simulation).toMatchObject({ published: 1_000, acknowledged: 1_000 });
  });

  it('goes on when a restarted broker lets it in only later, as that of the compose file does', async () => {
    const configLines = ['allow_anonymous true'];
    const broker = await startTestBroker({ configLines });
    const simulation = simulate(optionsFor(broker.url, { rate: 500, count: 1_000 }), outputs());
    await sleep(500);
    configLines[0] = 'allow_anonymous false';
    await broker.restart();
    await sleep(2_500);
    configLines[0] = 'allow_anonymous true';
    await broker.restart();
    expect(await simulation).toMatchObject({ published: 1_000, acknowledged: 1_000 });
  });

  it('stops when asked, with an answer to everything', async () => {
    const broker = await startTestBroker();
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 300);
    const output = outputs();
    const result = await simulate(optionsFor(broker.url, { count: 0, rate: 0.1 }), output, stop.signal);
    expect(result).toMatchObject({ published: 1, acknowledged: 1, interrupted: true });
    expect(result.elapsedMs).toBeLessThan(2_000);
    expect(exitCodeOf(result)).toBe(130);
    expect(output.texts.result).toContain('published     1 ');
  });

  it('stops when asked although the broker is gone', async () => {
    const broker = await startTestBroker();
    const stop = new AbortController();
    const simulation = simulate(optionsFor(broker.url, { count: 0, rate: 100 }), outputs(), stop.signal);
    await sleep(300);
    await broker.kill();
    await sleep(300);
    stop.abort();
    expect(await simulation).toMatchObject({ interrupted: true });
  });

  it('says what to do when there is no broker, and shows no password', async () => {
    const url = `mqtt://me:hidden@127.0.0.1:${await freePort()}`;
    const failure = await simulate(optionsFor(url), outputs()).catch((error: unknown) => error as Error);
    expect(failure).toMatchObject({ name: 'BrokerUnavailableError', exitCode: 69 });
    expect((failure as Error).message).toMatch(/^No broker can be used at mqtt:\/\/127\.0\.0\.1:\d+ \(.*ECONNREFUSED.*npm start.*--broker/);
    expect((failure as Error).message).not.toContain('hidden');
  });

  it('names the credentials when the broker does not let it in', async () => {
    const broker = await startTestBroker({ configLines: ['allow_anonymous false'] });
    await expect(simulate(optionsFor(broker.url), outputs())).rejects.toMatchObject({
      exitCode: 69,
      message: expect.stringContaining('MQTT_USERNAME') as string,
    });
  });

  it('publishes nothing when the record cannot be asked', async () => {
    const broker = await startTestBroker();
    const messages = await listen(broker.url);
    const asked: [Partial<SimulationOptions>, RegExp][] = [
      [{ databaseUrl: (await createEmptyDatabase()).url }, /tallystick migrate/],
      [{ databaseUrl: `postgres://u:hidden@127.0.0.1:${await freePort()}/d` }, /ECONNREFUSED.*unset DATABASE_URL/],
      [{ api: `http://127.0.0.1:${await freePort()}` }, /ECONNREFUSED.*leave out --api/],
    ];
    for (const [change, message] of asked) {
      const failure = await simulate(optionsFor(broker.url, change), outputs()).catch((error: unknown) => error as Error);
      expect(failure).toMatchObject({ name: 'RecordUnavailableError', exitCode: 69, message: expect.stringMatching(message) as string });
      expect((failure as Error).message).not.toContain('hidden');
    }
    await sleep(100);
    expect(messages).toEqual([]);
  });

  it('asks the API by the counters of its devices, page by page', async () => {
    const broker = await startTestBroker();
    const api = await startCounters((device) => (device === 'METER_0001' ? 1_000_000 : 7));
    const result = await simulate(optionsFor(broker.url, { api: api.url, apiKey: 'key' }), outputs());
    expect(result).toMatchObject({ acknowledged: 300, stored: 300 });
    expect(api.requests.every(({ authorization }) => authorization === 'Bearer key')).toBe(true);
    expect(api.requests[0]!.url).toBe('/api/v1/devices?tenantId=factory1&limit=500');
  });
});

/** Two devices a page, of the tenant asked for, and one that is not ours; 30 messages more for each of ours from the second look on. */
async function startCounters(before: (device: string) => number) {
  const requests: { url: string; authorization: string | undefined }[] = [];
  const server = createServer((request, response) => {
    requests.push({ url: request.url!, authorization: request.headers.authorization });
    const { searchParams } = new URL(request.url!, 'http://x');
    const tenant = searchParams.get('tenantId')!;
    const looks = requests.filter(({ url }) => url === '/api/v1/devices?tenantId=factory1&limit=500').length;
    const names = Array.from({ length: 5 }, (_, i) => `METER_${String(2 * i + (tenant === 'factory1' ? 1 : 2)).padStart(4, '0')}`);
    const all = [...names.map((name) => [name, before(name) + (looks > 1 ? 30 : 0)] as const), ['STRANGER', looks * 1_000] as const];
    const from = Number(searchParams.get('cursor') ?? '0');
    const items = all.slice(from, from + 2).map(([deviceId, count]) => ({ tenantId: tenant, deviceId, messageCount: String(count) }));
    response.end(JSON.stringify({ items, nextCursor: from + 2 < all.length ? String(from + 2) : null }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onCleanUp(() => new Promise((resolve) => server.close(resolve).closeAllConnections()));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}
