import { connect as connectSocket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import mqtt, { type MqttClient } from 'mqtt';
import { startAedes } from './aedes.js';
import type { EmbeddedBroker } from './embedded-broker.js';

describe('startAedes', () => {
  let broker: EmbeddedBroker;
  let watcher: MqttClient;
  let lines: string[];
  let metrics: Map<string, string>;

  beforeEach(async () => {
    broker = await startAedes({ port: 0, sysIntervalMs: 50 });
    lines = [];
    metrics = new Map();
    watcher = await mqtt.connectAsync(broker.url, { clientId: 'watcher', reconnectPeriod: 0 });
    watcher.on('message', (topic, payload) => {
      const name = topic.replace('$SYS/broker/', '');
      if (name.startsWith('log/'))
        lines.push(
          `${name.slice(4)} ${payload
            .toString()
            .replace(/^\d{10}: /, '')
            .replace(/127\.0\.0\.1:\d+/, 'A:P')}`,
        );
      else metrics.set(name, payload.toString());
    });
    await watcher.subscribeAsync('$SYS/broker/#', { qos: 1 });
  });
  afterEach(async () => {
    await watcher.endAsync();
    await broker.stop();
  });

  async function until(holds: () => boolean): Promise<void> {
    while (!holds()) await sleep(5);
  }
  const seen = (line: string) => () => lines.includes(line);

  it('writes the life of a client in the words of Mosquitto', async () => {
    const device = await mqtt.connectAsync(broker.url, {
      clientId: 'dev 1',
      reconnectPeriod: 0,
      username: "o'brien",
      password: 'x',
      keepalive: 30,
      clean: false,
    });
    await device.subscribeAsync('orders/+', { qos: 1 });
    await device.unsubscribeAsync('orders/+');
    await device.endAsync();
    await until(seen('N Client dev 1 disconnected.'));
    expect(lines.filter((line) => !line.includes('watcher'))).toEqual([
      `N New connection from A:P on port ${broker.port}.`,
      `N New client connected from A:P as dev 1 (p2, c0, k30, u'o'brien').`,
      'M/subscribe dev 1 1 orders/+',
      'M/unsubscribe dev 1 orders/+',
      'N Client dev 1 disconnected.',
    ]);
  });

  it('tells a broken connection, a takeover, a timeout and a breach of protocol apart', async () => {
    const broken = await mqtt.connectAsync(broker.url, { clientId: 'broken', reconnectPeriod: 0 });
    broken.stream.destroy();
    await until(seen('N Client broken closed its connection.'));

    const twin = { clientId: 'twin', reconnectPeriod: 0 };
    await mqtt.connectAsync(broker.url, twin);
    const second = await mqtt.connectAsync(broker.url, twin);
    await until(seen('E Client twin already connected, closing old connection.'));
    await second.endAsync();
    await until(seen('N Client twin disconnected.'));
    expect(lines.filter((line) => line.startsWith('N Client twin'))).toHaveLength(1);

    // CONNECT of MQTT 3.1.1, clean, keepalive of one second, id "silent"; and then nothing
    const connect = Buffer.from('101200044d51545404020001000673696c656e74', 'hex');
    const silent = connectSocket(broker.port, '127.0.0.1', () => silent.write(connect));
    await until(seen('N Client silent has exceeded timeout, disconnecting.'));

    const stranger = connectSocket(broker.port, '127.0.0.1', () => stranger.write('GET / HTTP/1.1\r\n\r\n'));
    await until(seen('N Client <unknown> disconnected due to protocol error.'));
  });

  it('publishes what it counts, retained, as Mosquitto prints it', async () => {
    const device = await mqtt.connectAsync(broker.url, { clientId: 'device', clean: false, reconnectPeriod: 0 });
    await device.subscribeAsync('a/b');
    await device.publishAsync('a/b', 'payload', { qos: 1, retain: true });
    const counted = { 'publish/messages/received': '1', 'clients/connected': '2', 'subscriptions/count': '2' };
    const others = ['version', 'uptime', 'load/messages/received/1min', 'retained messages/count', 'bytes/received'];
    // They come one after the other.
    await until(
      () => Object.entries(counted).every(([name, value]) => metrics.get(name) === value) && others.every((name) => metrics.has(name)),
    );
    expect(metrics.get('version')).toMatch(/^aedes version 1\.\d+\.\d+$/);
    expect(metrics.get('uptime')).toMatch(/^\d+ seconds$/);
    expect(metrics.get('load/messages/received/1min')).toMatch(/^\d+\.\d\d$/);
    expect(Number(metrics.get('retained messages/count'))).toBeGreaterThan(20);
    expect(Number(metrics.get('bytes/received'))).toBeGreaterThan(0);
    await device.endAsync();
    await until(() => metrics.get('clients/connected') === '1');
    expect([metrics.get('clients/total'), metrics.get('clients/disconnected')]).toEqual(['2', '1']);
  });

  it('refuses a publish to $SYS and a port that is taken', async () => {
    const forger = await mqtt.connectAsync(broker.url, { clientId: 'forger', reconnectPeriod: 0 });
    forger.publish('$SYS/broker/log/N', '1700000000: Client watcher disconnected.');
    await until(() => lines.some((line) => line.startsWith('N Client forger')));
    expect(lines).not.toContain('N Client watcher disconnected.');
    await expect(startAedes({ port: broker.port })).rejects.toMatchObject({ code: 'PORT_IN_USE', port: broker.port });
  });
});
