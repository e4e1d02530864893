import { once } from 'node:events';
import { connect as connectSocket, type Socket } from 'node:net';
import { type EmbeddedBroker, startAedes } from '@tallystick/embedded';
import { until } from '@tallystick/testing';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { generate } from 'mqtt-packet';
import { type CorpusLabel, corpusLines } from '../../test/corpus.js';
import { BrokerHistory } from '../sessions/broker-history.js';
import { sysValue, SYS_PREFIX } from '../sys-metrics/sys-value.js';
import { dialectOf } from './dialect.js';
import type { LogLine } from './log-line.js';
import { LOG_TOPIC_PREFIX, parseLogLine } from './parse-log-line.js';

type Named = Pick<CorpusLabel, 'client' | 'topic' | 'username'>;

/** A line with what clients chose and every number masked: the same for all lines that one printf writes. */
function shapeOf(leaf: string, payload: string, { client, topic, username }: Named): string {
  let text = payload.replace(/^\d+: /, '');
  if (topic) text = `${text.slice(0, -topic.length)}TOPIC`;
  if (username) text = text.replace(`u'${username}'`, "u'USER'");
  if (client) text = text.replace(client, 'ID');
  return `${leaf} ${text.replace(/\d+/g, '0')}`;
}

/** Mosquitto 2.0's, whose words the embedded broker takes. */
const corpus = (['2.0.11', '2.0.22'] as const).flatMap(corpusLines);
const corpusShapes = new Set(
  corpus
    .filter(({ topic, expect: label }) => topic.startsWith(LOG_TOPIC_PREFIX) && label)
    .map(({ topic, payload, expect: label }) => shapeOf(topic.slice(LOG_TOPIC_PREFIX.length), payload, label!)),
);

/** What a test wants to know of a line, in one string. */
function told({ action, client, topic, qos, username, endReason, truncated }: LogLine): string {
  return [action, client, topic, qos, username, endReason, truncated ? 'cut' : null].filter((part) => part !== null).join(' | ');
}

describe('the embedded aedes, read as the watcher reads', () => {
  let broker: EmbeddedBroker;
  let watcher: MqttClient;
  let version: string | undefined;
  let lines: { leaf: string; payload: string; line: LogLine }[];
  let metrics: Map<string, string>;

  beforeEach(async () => {
    broker = await startAedes({ port: 0, sysIntervalMs: 50 });
    [lines, metrics] = [[], new Map()];
    watcher = await connectAsync(broker.url, { clientId: 'watcher', reconnectPeriod: 0 });
    const history = new BrokerHistory();
    watcher.on('message', (topic, payload) => {
      if (topic === '$SYS/broker/version') version = payload.toString();
      if (!topic.startsWith(LOG_TOPIC_PREFIX)) return void metrics.set(topic, payload.toString());
      const line = parseLogLine(topic, payload, dialectOf(version!)!, history);
      history.apply(line, line.ts! * 1000, '2.0');
      lines.push({ leaf: topic.slice(LOG_TOPIC_PREFIX.length), payload: payload.toString(), line });
    });
    await watcher.subscribeAsync('$SYS/broker/version');
    await until(() => version !== undefined);
    await watcher.subscribeAsync('$SYS/broker/#');
  });
  afterEach(async () => {
    await watcher.endAsync();
    await broker.stop();
  });

  const connect = (clientId: string, options: IClientOptions = {}) =>
    connectAsync(broker.url, { clientId, protocolVersion: 4, reconnectPeriod: 0, ...options });
  const all = () => lines.map(({ line }) => told(line)).filter((text) => !text.includes('| watcher |'));
  const untilSeen = (text: string) => until(() => all().includes(text));

  async function bare(bytes: Buffer): Promise<Socket> {
    const socket = connectSocket(broker.port, '127.0.0.1');
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    socket.write(bytes);
    return socket;
  }

  /** Every line has a reading, an epoch time, and a shape that a Mosquitto has been seen to write. */
  function assertAsMosquitto(): void {
    expect(lines.filter(({ line }) => line.action === 'unknown' || line.ambiguous || line.ts === null)).toEqual([]);
    const shapes = lines.filter(({ line }) => !line.truncated).map(({ leaf, payload, line }) => shapeOf(leaf, payload, line));
    expect(shapes.filter((shape) => !corpusShapes.has(shape))).toEqual([]);
    expect(shapes.length).toBeGreaterThan(2);
  }

  it('tells a connection with all its details', async () => {
    const alice = await connect('device 1', { username: "o'brien", password: 'x', keepalive: 30, clean: false });
    const old = await connect('old', { protocolVersion: 3, protocolId: 'MQIsdp' });
    await alice.endAsync();
    await old.endAsync();
    await untilSeen('disconnected | old | clean_disconnect');
    const byId = (id: string) => lines.find(({ line }) => line.action === 'connected' && line.client === id)!.line;
    expect(byId('device 1')).toMatchObject({ username: "o'brien", address: '127.0.0.1', port: expect.any(Number) });
    expect(byId('device 1').connect).toEqual({ protocolVersion: 4, cleanStart: false, keepaliveS: 30 });
    expect(byId('old').connect).toMatchObject({ protocolVersion: 3, cleanStart: true });
    assertAsMosquitto();
  });

  it('tells every end of a session by its reason', async () => {
    await (await connect('polite')).endAsync();
    (await connect('killed')).stream.destroy();
    await connect('twin');
    await (await connect('twin')).endAsync();
    const hello = (clientId: string, keepalive: number) =>
      generate({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, clientId, keepalive });
    const silent = await bare(hello('silent', 1));
    const rude = await bare(hello('rude', 60));
    await untilSeen('connected | rude');
    rude.write(hello('rude', 60));
    const stranger = await bare(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
    await untilSeen('disconnected | silent | keepalive_timeout');
    await until(() => all().filter((text) => text.startsWith('disconnected')).length === 7);
    const ends = all().filter((text) => text.startsWith('disconnected'));
    expect(ends.sort()).toEqual([
      'disconnected | killed | network',
      'disconnected | polite | clean_disconnect',
      'disconnected | protocol_error',
      'disconnected | rude | protocol_error',
      'disconnected | silent | keepalive_timeout',
      'disconnected | twin | clean_disconnect',
      'disconnected | twin | taken_over',
    ]);
    expect(all().filter((text) => text.includes('twin'))).toEqual([
      'connected | twin',
      'disconnected | twin | taken_over',
      'connected | twin',
      'disconnected | twin | clean_disconnect',
    ]);
    assertAsMosquitto();
    for (const socket of [silent, rude, stranger]) socket.destroy();
  });

  it('tells subscriptions with topics as odd as they may be, and their end', async () => {
    const topics = ['plain/+', 'with space/1 x', ' 1 2 ', '$share/group/jobs/#', 'ünï/日本', '1700000001: New client connected'];
    const device = await connect('sub one');
    await device.subscribeAsync(topics, { qos: 1 });
    await device.subscribeAsync('plain/+', { qos: 2 });
    for (const topic of topics) await device.unsubscribeAsync(topic);
    await device.endAsync();
    await untilSeen('disconnected | sub one | clean_disconnect');
    expect(all().filter((text) => text.includes('subscribe'))).toEqual([
      ...topics.map((topic) => `subscribe | sub one | ${topic} | 1`),
      'subscribe | sub one | plain/+ | 2',
      ...topics.map((topic) => `unsubscribe | sub one | ${topic}`),
    ]);
    assertAsMosquitto();
  });

  it.each(['</script>', '\u202eevil', "x (p2, c0, k60, u'admin').", 'victim disconnected.', 'a as b', 'line\u2028separator'])(
    'tells the id %j as it is',
    async (id) => {
      await (await connect(id)).endAsync();
      await untilSeen(`disconnected | ${id} | clean_disconnect`);
      expect(all().filter((text) => text.startsWith('connected'))).toEqual([`connected | ${id}`]);
      assertAsMosquitto();
    },
  );

  it('cuts a long line where Mosquitto does, so that no reader takes its end for an end', async () => {
    await (await connect(`${'x'.repeat(970)} disconnected.`)).endAsync();
    await until(() => all().includes('disconnected | cut'));
    expect(all().filter((text) => !text.startsWith('conn_info'))).toEqual(['connected | cut', 'disconnected | cut']);
    expect(lines.filter(({ line }) => line.truncated).map(({ payload }) => payload.length)).toEqual([999, 999]);
  });

  it('publishes values under Mosquitto’s topics, as it prints them', async () => {
    const device = await connect('device');
    await device.subscribeAsync('a/b');
    await device.publishAsync('a/b', 'payload', { qos: 1, retain: true });
    const masked = (payload: string) => payload.replace(/\d+/g, '0');
    const known = new Map<string, Set<string>>();
    for (const { topic, payload } of corpus) known.set(topic, (known.get(topic) ?? new Set()).add(masked(payload)));
    await until(() => metrics.get('$SYS/broker/publish/messages/received') === '1' && metrics.has('$SYS/broker/clients/maximum'));
    const odd = [...metrics].filter(([topic, payload]) => topic !== `${SYS_PREFIX}version` && !known.get(topic)?.has(masked(payload)));
    expect(odd).toEqual([]);
    for (const [topic, payload] of metrics) {
      expect(sysValue(topic, Buffer.from(payload)).kind).toBe(topic === `${SYS_PREFIX}version` ? 'text' : 'number');
    }
    const missing = [...known.keys()].filter((topic) => !/\/(log|connection)\//.test(topic) && !metrics.has(topic));
    // aedes does not count what it stores or drops, and its heap is that of the whole process
    expect(missing.filter((topic) => !/\/(load\/publish\/dropped|messages\/stored|store|heap)(\/|$)/.test(topic))).toEqual([]);
    await device.endAsync();
  });
});
