import { createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { freePort, startAedes } from '@tallystick/embedded';
import { FaultProxy, onCleanUp, PacketTrace, startTestBroker, type TestBroker, until } from '@tallystick/testing';
import { connectAsync, type MqttClient } from 'mqtt';
import mqttPacket, { type Packet, type UserProperties } from 'mqtt-packet';
import { QUICK_TRIES, quickReconnectDelayMs, reconnectDelayMs, STEADY_MS } from './connect-options.js';
import { discardSession } from './discard-session.js';
import { DeferredAckMqttServer, type DeferredAckOptions, type ReceivedPacket } from './deferred-ack.server.js';

// Lost connections are what these specs are about.
Logger.overrideLogger(false);

/** A server that keeps what it is handed and acknowledges nothing by itself. */
class Receiver {
  readonly arrays: ReceivedPacket[][] = [];
  readonly server: DeferredAckMqttServer;
  /** Set to store nothing and acknowledge at once. */
  acknowledgesAtOnce = false;

  constructor(
    url: string,
    { settings, ...options }: { settings?: Partial<DeferredAckOptions['settings']> } & Partial<Omit<DeferredAckOptions, 'settings'>>,
  ) {
    let remembered: string[] = [];
    this.server = new DeferredAckMqttServer({
      settings: { url, protocolVersion: '5', keepaliveS: 60, ...settings },
      clientId: () => settings?.clientId ?? 'receiver',
      routes: [{ name: 'telemetry', filters: ['t/#'], qos: 1 }],
      maxUnacknowledged: 1000,
      maxHeldBytes: 1_000_000_000,
      filterMemory: { load: () => Promise.resolve(remembered), save: (filters) => Promise.resolve(void (remembered = filters)) },
      ...options,
    });
    this.server.addHandler('telemetry', (packets: ReceivedPacket[]) => Promise.resolve(this.take(packets)), true);
  }

  get packets(): ReceivedPacket[] {
    return this.arrays.flat();
  }

  get texts(): string[] {
    return this.packets.map(({ payload }) => payload.toString());
  }

  acknowledge(packets: readonly ReceivedPacket[]): void {
    this.server.acknowledge(packets.map(({ receipt }) => receipt));
  }

  private take(packets: ReceivedPacket[]): void {
    this.arrays.push(packets);
    if (this.acknowledgesAtOnce) this.acknowledge(packets);
  }
}

async function startReceiver(url: string, options: ConstructorParameters<typeof Receiver>[1] = {}): Promise<Receiver> {
  const receiver = new Receiver(url, options);
  void receiver.server.listen(() => undefined);
  onCleanUp(async () => void (await receiver.server.close()));
  await until(() => receiver.server.problem === undefined);
  return receiver;
}

async function publishAll(broker: TestBroker, texts: readonly (string | Buffer)[], topic = 't/x'): Promise<void> {
  const device = await connectAsync(broker.url, { protocolVersion: 5, reconnectPeriod: 0 });
  await Promise.all(texts.map((text) => device.publishAsync(topic, text, { qos: 1 })));
  await device.endAsync();
}

function numbers(from: number, past: number): string[] {
  return Array.from({ length: past - from }, (_, i) => String(from + i));
}

function idsOf(traced: PacketTrace['packets']): (number | undefined)[] {
  return traced.map(({ packet }) => packet.messageId);
}

/** A broker played by the test: for answers that no installed broker gives, or not at a moment of our choice. */
async function scriptedBroker(answer: (packet: Packet, socket: Socket, connection: number) => void): Promise<string> {
  const sockets = new Set<Socket>();
  let connections = 0;
  const server: Server = createServer((socket) => {
    const connection = ++connections;
    sockets.add(socket);
    socket.on('error', () => undefined);
    let protocolVersion = 5;
    const parser = mqttPacket.parser({ protocolVersion });
    parser.on('packet', (packet) => {
      if (packet.cmd === 'connect') protocolVersion = packet.protocolVersion ?? 4;
      answer(packet, socket, connection);
    });
    socket.on('data', (chunk) => parser.parse(chunk));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onCleanUp(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return `mqtt://127.0.0.1:${(server.address() as { port: number }).port}`;
}

// What DeferredAckMqttServer takes for granted of mqtt.js. The version is pinned; an upgrade must pass this first.
describe('mqtt.js', () => {
  it('sends no PUBACK when handleMessage calls back with an error, and goes on with the next packet', async () => {
    const broker = await startTestBroker();
    const trace = await PacketTrace.start(broker.port);
    const client = await connectAsync(trace.url, { protocolVersion: 5, keepalive: 1, reconnectPeriod: 0 });
    const seen: string[] = [];
    client.handleMessage = (packet, done) => {
      seen.push(String(packet.payload));
      done(new Error('deferred'));
    };
    const errors: Error[] = [];
    client.on('error', (error) => errors.push(error));
    await client.subscribeAsync('t/#', { qos: 1 });
    await publishAll(broker, numbers(0, 100));
    await until(() => seen.length === 100);
    expect(seen).toEqual(numbers(0, 100));
    // A whole round of keepalive later nothing has been acknowledged, and nothing was taken for an error.
    const pings = trace.of('broker', 'pingresp').length;
    await until(() => trace.of('broker', 'pingresp').length > pings);
    expect(trace.of('client', 'puback')).toEqual([]);
    expect(errors).toEqual([]);
    await client.endAsync();
  });

  it('reads no further while handleMessage has not called back', async () => {
    const broker = await startTestBroker();
    const client = await connectAsync(broker.url, { protocolVersion: 5, reconnectPeriod: 0 });
    const waiting: (() => void)[] = [];
    client.handleMessage = (_, done) => void waiting.push(() => done(new Error('deferred')));
    await client.subscribeAsync('t/#', { qos: 1 });
    await publishAll(broker, numbers(0, 10));
    await until(() => waiting.length === 1);
    await sleep(100);
    expect(waiting).toHaveLength(1);
    waiting[0]!();
    await until(() => waiting.length === 2);
    await client.endAsync(true);
  });

  it.each([4, 5] as const)('emits CONNACK as packetreceive before the first PUBLISH, connected by then (protocol %i)', async (version) => {
    const connack = mqttPacket.generate(
      { cmd: 'connack', reasonCode: 0, returnCode: 0, sessionPresent: true },
      { protocolVersion: version },
    );
    const publish = mqttPacket.generate(
      { cmd: 'publish', topic: 't/x', payload: '1', qos: 1, messageId: 1, dup: true, retain: false },
      { protocolVersion: version },
    );
    // In one segment, which a real broker may or may not do.
    const url = await scriptedBroker((packet, socket) => {
      if (packet.cmd === 'connect') socket.write(Buffer.concat([connack, publish]));
    });
    const order: string[] = [];
    const { connect } = await import('mqtt');
    const client: MqttClient = connect(url, { protocolVersion: version, clean: false, clientId: 'c', reconnectPeriod: 0 });
    client.handleMessage = (_, done) => {
      order.push(`publish, connected: ${client.connected}`);
      done(new Error('deferred'));
    };
    client.on('packetreceive', (packet) => packet.cmd === 'connack' && order.push('connack'));
    await until(() => order.length === 2);
    expect(order).toEqual(['connack', 'publish, connected: true']);
    client.end(true);
  });
});

describe('DeferredAckMqttServer', () => {
  it('reads the user property that identifies a message, where there is a usable one', async () => {
    const broker = await startTestBroker();
    const named = await startReceiver(broker.url, { settings: { clientId: 'named' }, deduplicationProperty: 'id' });
    const inherited = await startReceiver(broker.url, { settings: { clientId: 'inherited' }, deduplicationProperty: 'constructor' });
    const unnamed = await startReceiver(broker.url);
    const old = await startReceiver(broker.url, { settings: { clientId: 'old', protocolVersion: '3.1.1' }, deduplicationProperty: 'id' });
    const longest = 'k'.repeat(65_535);
    const sent: [UserProperties | undefined, string | undefined][] = [
      [{ id: 'one' }, 'one'],
      [{ other: 'x', id: ['first', 'second'] }, 'first'],
      [{ id: longest }, longest],
      [{ id: ' Ä😀' }, ' Ä😀'],
      [{ id: '' }, undefined],
      [{ id: 'was not UTF-8: \ufffd' }, undefined],
      [{ Id: 'x' }, undefined],
      [undefined, undefined],
    ];
    const device = await connectAsync(broker.url, { protocolVersion: 5, reconnectPeriod: 0 });
    for (const [userProperties] of sent) await device.publishAsync('t/x', '1', { qos: 1, properties: { userProperties } });
    await device.endAsync();
    for (const receiver of [named, inherited, unnamed, old]) await until(() => receiver.packets.length === sent.length);
    expect(named.packets.map((packet) => packet.deduplicationKey)).toEqual(sent.map(([, key]) => key));
    for (const { packets } of [inherited, unnamed, old]) for (const packet of packets) expect(packet.deduplicationKey).toBeUndefined();
  });

  it.each(['5', '3.1.1'] as const)(
    'writes acknowledgements that Mosquitto takes: the rest alone comes again (MQTT %s)',
    async (version) => {
      const broker = await startTestBroker();
      const trace = await PacketTrace.start(broker.port);
      const receiver = await startReceiver(trace.url, { settings: { protocolVersion: version } });
      await publishAll(broker, numbers(0, 20));
      await until(() => receiver.packets.length === 20);
      receiver.acknowledge(receiver.packets.slice(0, 12));
      await until(() => trace.of('client', 'puback').length === 12);
      expect(idsOf(trace.of('client', 'puback'))).toEqual(idsOf(trace.of('broker', 'publish')).slice(0, 12));

      trace.cut();
      await until(() => receiver.packets.length === 28);
      const again = receiver.packets.slice(20);
      expect(again.map(({ payload }) => payload.toString())).toEqual(numbers(12, 20));
      for (const { receipt } of again) expect(receipt).toMatchObject({ mayRepeat: true, connection: 2 });
      receiver.acknowledge(again);
      await until(() => trace.of('client', 'puback').length === 20);

      trace.cut();
      await until(() => trace.of('client', 'connect').length === 3 && receiver.server.connected);
      await publishAll(broker, ['last']);
      await until(() => receiver.packets.length === 29);
      expect(receiver.texts.at(-1)).toBe('last');
    },
  );

  it('never acknowledges with a receipt of an earlier connection, though the broker uses its packet id again', async () => {
    const broker = await startTestBroker({ configLines: ['persistence false'] });
    const trace = await PacketTrace.start(broker.port);
    const receiver = await startReceiver(trace.url);
    await publishAll(broker, numbers(0, 10));
    await until(() => receiver.packets.length === 10);
    const first = receiver.packets;

    trace.cut();
    await until(() => receiver.packets.length === 20);
    expect(receiver.packets.slice(10).map(({ receipt }) => receipt!.packetId)).toEqual(first.map(({ receipt }) => receipt!.packetId));
    receiver.acknowledge(first);
    const second = receiver.packets.slice(10);

    // The session is gone with the broker: other messages get the same packet ids.
    await broker.kill();
    await broker.restart();
    await until(() => receiver.server.problem === undefined);
    await publishAll(broker, numbers(100, 110));
    await until(() => receiver.packets.length === 30);
    const third = receiver.packets.slice(20);
    expect(third.map(({ receipt }) => receipt!.packetId)).toEqual(first.map(({ receipt }) => receipt!.packetId));
    for (const { receipt } of third) expect(receipt!.mayRepeat).toBe(false);
    receiver.acknowledge(first);
    receiver.acknowledge(second);
    await sleep(200);
    expect(trace.of('client', 'puback')).toEqual([]);
    expect(receiver.server.unacknowledged).toBe(10);

    receiver.acknowledge(third);
    await until(() => trace.of('client', 'puback').length === 10);
    expect(receiver.server.unacknowledged).toBe(0);
  });

  it('stops reading at its marks with the connection alive, and goes on once acknowledged', async () => {
    const HOLD_MS = 6_000;
    const messages = numbers(0, 200).map((text) => text.padEnd(1_000));
    const hold = async (stopsAt: number, options: ConstructorParameters<typeof Receiver>[1]) => {
      const broker = await startTestBroker();
      const trace = await PacketTrace.start(broker.port);
      const receiver = await startReceiver(trace.url, options);
      await publishAll(broker, messages);
      await until(() => receiver.packets.length === stopsAt);
      await sleep(HOLD_MS);
      expect(receiver.packets).toHaveLength(stopsAt);
      expect(receiver.server.connected).toBe(true);
      expect(trace.of('client', 'connect')).toHaveLength(1);
      expect(trace.of('broker', 'pingresp').length).toBeGreaterThanOrEqual(HOLD_MS / 2_000 - 1);

      receiver.acknowledgesAtOnce = true;
      receiver.acknowledge(receiver.packets);
      await until(() => receiver.packets.length === messages.length);
      expect(receiver.texts).toEqual(messages);
      await until(() => trace.of('client', 'puback').length === messages.length);
      // Read again, the answers to its pings keep it alive as ever.
      await sleep(3_500);
      expect(trace.of('client', 'connect')).toHaveLength(1);
    };
    await Promise.all([
      // A 3.1.1 client has no Receive Maximum to state; this broker's window is 1000.
      hold(40, { maxUnacknowledged: 20, settings: { protocolVersion: '3.1.1', keepaliveS: 2 } }),
      hold(25, { maxHeldBytes: 25_000, settings: { keepaliveS: 2 } }),
    ]);
  });

  it('takes whatever comes for the answer to its ping, which lies behind it on a slow way', async () => {
    const broker = await startTestBroker();
    const wire = await FaultProxy.start(broker.port);
    wire.limit(80_000, ['down']);
    const receiver = await startReceiver(`mqtt://127.0.0.1:${wire.port}`, { settings: { keepaliveS: 4 } });
    receiver.acknowledgesAtOnce = true;
    // 15 s of packets: mqtt.js would miss its PINGRESP 6 s after the last packet it sent.
    await publishAll(
      broker,
      numbers(0, 600).map((text) => text.padStart(2_000)),
    );
    await until(() => receiver.packets.length === 600, { timeoutMs: 40_000 });
    expect(wire.accepted).toBe(1);
  });

  it('counts what it still holds of a session that is lost, so that brokers that forget cannot fill the memory', async () => {
    const connects: Socket[] = [];
    const url = await scriptedBroker((packet, socket) => {
      if (packet.cmd === 'connect')
        socket.write(mqttPacket.generate({ cmd: 'connack', sessionPresent: false, reasonCode: 0 }, { protocolVersion: 5 }));
      if (packet.cmd === 'pingreq') socket.write(mqttPacket.generate({ cmd: 'pingresp' }));
      if (packet.cmd !== 'subscribe') return;
      connects.push(socket);
      socket.write(mqttPacket.generate({ cmd: 'suback', messageId: packet.messageId!, granted: [1] }, { protocolVersion: 5 }));
      for (let messageId = 1; messageId <= 15; messageId++) {
        const publish = { cmd: 'publish', topic: 't/x', payload: 'm', qos: 1, messageId, dup: false, retain: false } as const;
        socket.write(mqttPacket.generate(publish, { protocolVersion: 5 }));
      }
    });
    const receiver = await startReceiver(url, { maxUnacknowledged: 10 });
    await until(() => receiver.packets.length === 15);
    connects[0]!.destroy();
    await until(() => connects.length === 2, { timeoutMs: 10_000 });
    await until(() => receiver.packets.length >= 20);
    await sleep(300);
    expect(receiver.packets).toHaveLength(20);
    receiver.acknowledge(receiver.packets.slice(0, 15));
    await until(() => receiver.packets.length === 30);
  });

  it('hands packets over raw, in order and in arrays', async () => {
    const broker = await startTestBroker();
    const receiver = await startReceiver(broker.url);
    const texts = [
      ...numbers(0, 500),
      '{"data":{"kwh":1},"id":"7","pattern":"x"}',
      '{"data":1}',
      '{"id":1,"isDisposed":true}',
      '',
      '\u0000',
    ];
    await publishAll(broker, texts);
    await until(() => receiver.packets.length === texts.length);
    expect(receiver.texts).toEqual(texts);
    for (const { payload } of receiver.packets) expect(Buffer.isBuffer(payload)).toBe(true);
    expect(receiver.arrays.length).toBeLessThan(texts.length / 2);
  });

  it('reads nothing more once told to stop, and says goodbye behind the last acknowledgement', async () => {
    const broker = await startTestBroker();
    const trace = await PacketTrace.start(broker.port);
    const receiver = await startReceiver(trace.url);
    await publishAll(broker, numbers(0, 30));
    await until(() => receiver.packets.length === 30);
    await receiver.server.stopReading();
    await publishAll(broker, numbers(30, 60));
    await until(() => trace.of('broker', 'publish').length === 60);
    expect(receiver.packets).toHaveLength(30);

    receiver.acknowledge(receiver.packets);
    await receiver.server.close();
    await until(() => trace.of('client', 'disconnect').length === 1);
    const fromClient = trace.packets.filter(({ from }) => from === 'client').map(({ packet }) => packet.cmd);
    expect(fromClient.slice(-31)).toEqual([...Array<string>(30).fill('puback'), 'disconnect']);

    // What it did not read waits for its successor.
    const successor = await startReceiver(broker.url);
    await until(() => successor.packets.length === 30);
    expect(successor.texts).toEqual(numbers(30, 60));
  });

  it('ends at once though much is unread, reading being stopped', async () => {
    const broker = await startTestBroker();
    const receiver = await startReceiver(broker.url, { maxHeldBytes: 100_000 });
    await publishAll(
      broker,
      numbers(0, 200).map((text) => text.padEnd(10_000)),
    );
    await until(() => receiver.packets.length === 10);
    await receiver.server.stopReading();
    const startedAtMs = performance.now();
    await receiver.server.close();
    expect(performance.now() - startedAtMs).toBeLessThan(1_000);
    expect(receiver.packets).toHaveLength(10);
  });

  it('ends soon though the broker never closes the connection', async () => {
    const url = await scriptedBroker((packet, socket) => {
      if (packet.cmd === 'connect')
        socket.write(mqttPacket.generate({ cmd: 'connack', reasonCode: 0, sessionPresent: false }, { protocolVersion: 5 }));
    });
    const receiver = new Receiver(url, {});
    void receiver.server.listen(() => undefined);
    await until(() => receiver.server.connected);
    const startedAtMs = performance.now();
    await receiver.server.close();
    expect(performance.now() - startedAtMs).toBeLessThan(3_000);
  });

  it('falls back to 3.1.1 on a broker that has no MQTT 5', async () => {
    const aedes = await startAedes({ port: 0 });
    onCleanUp(() => aedes.stop());
    const trace = await PacketTrace.start(aedes.port);
    await startReceiver(trace.url, { settings: { protocolVersion: 'auto' } });
    const versions = trace.of('client', 'connect').map(({ packet }) => packet.cmd === 'connect' && packet.protocolVersion);
    expect(versions).toEqual([5, 4]);
  });

  it('falls back to 3.1.1 on reason code 0x84 too, unless MQTT 5 was asked for', async () => {
    const attempts: Record<string, number[]> = {};
    const url = await scriptedBroker((packet, socket) => {
      if (packet.cmd === 'connect') {
        (attempts[packet.clientId] ??= []).push(packet.protocolVersion!);
        socket.end(mqttPacket.generate({ cmd: 'connack', reasonCode: 0x84, sessionPresent: false }, { protocolVersion: 5 }));
      }
    });
    for (const protocolVersion of ['auto', '5'] as const) {
      const receiver = new Receiver(url, { settings: { protocolVersion, clientId: protocolVersion } });
      void receiver.server.listen(() => undefined);
      onCleanUp(async () => void (await receiver.server.close()));
    }
    await until(() => attempts['auto']?.[1] && attempts['5']?.[1]);
    expect(attempts['auto']!.slice(0, 2)).toEqual([5, 4]);
    expect(attempts['5']!.slice(0, 2)).toEqual([5, 5]);
  });

  it('says that a session could not be discarded when the broker closes before it answers', async () => {
    const url = await scriptedBroker((packet, socket) => packet.cmd === 'connect' && socket.end());
    await expect(discardSession({ url, protocolVersion: '5', keepaliveS: 60 }, 'gone', 5)).rejects.toThrow();
  });

  it('gives up its session to the client that took it over, and does not connect again', async () => {
    const connects: string[] = [];
    // Mosquitto 2.0 closes the connection without the DISCONNECT that MQTT 5 section 3.1.4 asks for.
    const url = await scriptedBroker((packet, socket) => {
      if (packet.cmd === 'connect') {
        connects.push(packet.clientId);
        const connack = mqttPacket.generate({ cmd: 'connack', reasonCode: 0, sessionPresent: true }, { protocolVersion: 5 });
        socket.end(Buffer.concat([connack, mqttPacket.generate({ cmd: 'disconnect', reasonCode: 0x8e }, { protocolVersion: 5 })]));
      }
    });
    const receiver = new Receiver(url, {});
    const fatal: Error[] = [];
    receiver.server.onFatal = (error) => fatal.push(error);
    void receiver.server.listen(() => undefined);
    await until(() => fatal.length === 1);
    expect(fatal[0]).toMatchObject({ code: 'SESSION_TAKEN_OVER', exitCode: 76 });
    await sleep(1_500);
    expect(connects).toEqual(['receiver']);
  });

  it('names the filter that the broker refuses', async () => {
    const url = await scriptedBroker((packet, socket) => {
      const send = (answer: Packet) => socket.write(mqttPacket.generate(answer, { protocolVersion: 5 }));
      if (packet.cmd === 'connect') send({ cmd: 'connack', reasonCode: 0, sessionPresent: false });
      if (packet.cmd === 'subscribe') send({ cmd: 'suback', messageId: packet.messageId!, granted: [1, 0x87] });
    });
    const receiver = new Receiver(url, { routes: [{ name: 'telemetry', filters: ['t/#', 'forbidden/#'], qos: 1 }] });
    void receiver.server.listen(() => undefined);
    onCleanUp(async () => void (await receiver.server.close()));
    await until(() => receiver.server.problem?.includes('refused'));
    expect(receiver.server.problem).toBe('not subscribed: the broker refused forbidden/# (Subscribe error: Not authorized)');
  });

  it.each([
    ['shared filters again, which Mosquitto does not save', '$share/group/t/#', 2],
    ['no others, whose retained messages would come again', 't/#', 1],
  ])('subscribes in a session that a restarted broker resumed to %s', async (_, filter, subscribes) => {
    const broker = await startTestBroker();
    const trace = await PacketTrace.start(broker.port);
    const receiver = await startReceiver(trace.url, { routes: [{ name: 'telemetry', filters: [filter], qos: 1 }] });
    receiver.acknowledgesAtOnce = true;
    await publishAll(broker, ['before']);
    await until(() => receiver.texts.length === 1);
    await broker.restart();
    await until(() => trace.of('broker', 'connack').length === 2 && receiver.server.problem === undefined);
    expect(trace.of('broker', 'connack').at(-1)!.packet).toMatchObject({ sessionPresent: true });
    await publishAll(broker, ['after']);
    await until(() => receiver.texts.length === 2);
    expect(trace.of('client', 'subscribe')).toHaveLength(subscribes);
  });

  it('waits longer after each failure, and as at first after a success', async () => {
    const port = await freePort();
    const attemptsMs: number[] = [];
    const closed = createServer((socket) => {
      attemptsMs.push(performance.now());
      socket.on('error', () => undefined).destroy();
    });
    await new Promise<void>((resolve) => closed.listen(port, '127.0.0.1', resolve));
    const receiver = new Receiver(`mqtt://127.0.0.1:${port}`, {});
    void receiver.server.listen(() => undefined);
    onCleanUp(async () => void (await receiver.server.close()));
    await until(() => attemptsMs.length === 3, { timeoutMs: 15_000 });
    const gaps = attemptsMs.slice(1).map((atMs, index) => atMs - attemptsMs[index]!);
    for (const [failures, gap] of gaps.entries()) {
      expect(gap).toBeGreaterThan(reconnectDelayMs(failures, 0) - 50);
      expect(gap).toBeLessThan(reconnectDelayMs(failures, 1) + 500);
    }
    await new Promise((resolve) => closed.close(resolve));

    const broker = await startTestBroker({ configLines: [`listener ${port} 127.0.0.1`] });
    await until(() => receiver.server.problem === undefined, { timeoutMs: 15_000 });
    const cutAtMs = performance.now();
    await broker.restart();
    await until(() => receiver.server.problem === undefined && receiver.server.connected, { timeoutMs: 15_000 });
    expect(performance.now() - cutAtMs).toBeLessThan(3_000);
  });

  it('tries again quickly, and so often, when a connection that has lasted is lost', async () => {
    const broker = await startTestBroker();
    const receiver = await startReceiver(broker.url);
    await sleep(STEADY_MS);
    await broker.stop();
    const attemptsMs: number[] = [];
    const closed = createServer((socket) => {
      attemptsMs.push(performance.now());
      socket.on('error', () => undefined).destroy();
    });
    await new Promise<void>((resolve) => closed.listen(broker.port, '127.0.0.1', resolve));
    await until(() => attemptsMs.length === 20);
    expect((attemptsMs.at(-1)! - attemptsMs[0]!) / 19).toBeLessThan(quickReconnectDelayMs(1) + 50);
    await new Promise((resolve) => closed.close(resolve));
    await broker.restart();
    await until(() => receiver.server.problem === undefined && receiver.server.connected, { timeoutMs: 1_000 });

    // It is lost again before it has lasted: there are as many quick tries as were left.
    await broker.stop();
    await new Promise<void>((resolve) => closed.listen(broker.port, '127.0.0.1', resolve));
    await sleep((QUICK_TRIES - 20) * quickReconnectDelayMs(1) + 2_000);
    expect(attemptsMs.length).toBeLessThan(QUICK_TRIES + 5);
    expect(attemptsMs.at(-1)! - attemptsMs.at(-2)!).toBeGreaterThan(reconnectDelayMs(0, 0) - 50);
    await new Promise((resolve) => closed.close(resolve));
  }, 30_000);

  it('draws its delays from the upper half of 1 s, 2 s, 4 s … 60 s', () => {
    const spans = [0, 1, 2, 5, 6, 1000].map((failures) => [reconnectDelayMs(failures, 0), reconnectDelayMs(failures, 1)]);
    expect(spans).toEqual([
      [500, 1_000],
      [1_000, 2_000],
      [2_000, 4_000],
      [16_000, 32_000],
      [30_000, 60_000],
      [30_000, 60_000],
    ]);
  });
});
