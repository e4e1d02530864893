import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import mqtt from 'mqtt';
import type { EmbeddedBroker } from './embedded-broker.js';
import { startMosquitto } from './mosquitto.js';
import { endProcess, viewProcess } from './processes.js';

describe('startMosquitto', () => {
  const dir = mkdtempSync(join(tmpdir(), 'tallystick-mosquitto-'));
  const running: EmbeddedBroker[] = [];

  async function start(changes: Partial<Parameters<typeof startMosquitto>[0]> = {}) {
    const broker = await startMosquitto({ dir, port: 0, ...changes });
    running.push(broker);
    return broker;
  }

  afterEach(() => Promise.all(running.splice(0).map((broker) => broker.stop())));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('keeps a session and what is queued for it over a restart', async () => {
    const session = { clientId: 'bridge', clean: false, reconnectPeriod: 0 };
    const earlier = await start();
    const { url, port } = earlier;
    const first = await mqtt.connectAsync(url, session);
    await first.subscribeAsync('veep/#', { qos: 1 });
    await first.endAsync();
    const device = await mqtt.connectAsync(url, { reconnectPeriod: 0 });
    await device.publishAsync('veep/a/b/c/data', '1', { qos: 1 });
    await device.endAsync();
    await earlier.stop();

    await start({ port });
    const again = mqtt.connect(url, session);
    const received = await new Promise((resolve) => again.once('message', (topic, payload) => resolve([topic, payload.toString()])));
    await again.endAsync();
    expect(received).toEqual(['veep/a/b/c/data', '1']);
  });

  it('publishes its log and its metrics as the broker watcher needs them', async () => {
    const { url } = await start({ configLines: ['sys_interval 1'] });
    const watcher = await mqtt.connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0 });
    const seen: string[] = [];
    watcher.on('message', (topic, payload) => seen.push(`${topic} ${payload.toString()}`));
    await watcher.subscribeAsync('$SYS/broker/log/#');
    const device = await mqtt.connectAsync(url, { clientId: 'device-1', reconnectPeriod: 0 });
    await device.subscribeAsync('orders/+', { qos: 1 });
    await device.endAsync();
    await watcher.subscribeAsync('$SYS/broker/version');
    while (!seen.some((line) => line.includes('device-1 disconnected'))) await sleep(5);
    await watcher.endAsync();
    expect(seen).toContainEqual(
      expect.stringMatching(/^\$SYS\/broker\/log\/N \d{10}: New client connected from 127\.0\.0\.1:\d+ as device-1 \(p2, c1, k60\)\.$/),
    );
    expect(seen).toContainEqual(expect.stringMatching(/^\$SYS\/broker\/log\/M\/subscribe \d{10}: device-1 1 orders\/\+$/));
  });

  it('stops a broker whose starter is gone, and refuses one whose starter is not', async () => {
    const orphan = await start();
    await expect(start()).rejects.toMatchObject({ code: 'ALREADY_RUNNING' });
    running.length = 0;
    // as if another process had started it
    const pidFile = join(dir, 'mosquitto.pid');
    expect(readFileSync(pidFile, 'utf8')).toBe(`${orphan.pid} ${process.pid}\n`);
    writeFileSync(pidFile, `${orphan.pid} 999999999\n`);
    await start();
    expect(await orphan.exited).toEqual({ code: 0, signal: null });
  });

  it('names the port in use, the missing program, and the line it does not understand', async () => {
    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    const { port } = holder.address() as AddressInfo;
    await expect(start({ port })).rejects.toMatchObject({ code: 'PORT_IN_USE', message: expect.stringContaining('EMBEDDED_BROKER_PORT') });
    holder.close();
    await expect(start({ binary: join(dir, 'none') })).rejects.toMatchObject({
      code: expect.stringMatching('MISSING_PROGRAM|SERVER_EXITED'),
    });
    await expect(start({ configLines: ['nonsense true'] })).rejects.toMatchObject({
      code: 'SERVER_EXITED',
      message: expect.stringContaining('nonsense'),
    });
  });

  it('tells that it was killed', async () => {
    const broker = await start();
    process.kill(broker.pid!, 'SIGKILL');
    expect(await broker.exited).toEqual({ code: null, signal: 'SIGKILL' });
    expect(viewProcess(broker.pid!)).toBeUndefined();
    expect(await endProcess(broker.pid!, ['SIGTERM'], 10)).toBe(true);
  });
});
