import { createServer, connect, type Socket } from 'node:net';
import mqttPacket, { type Packet } from 'mqtt-packet';
import { onCleanUp } from './clean-up.js';

export interface TracedPacket {
  from: 'client' | 'broker';
  /** Monotonic ms at which the relay saw it. */
  atMs: number;
  packet: Packet;
}

/** A TCP relay in front of a broker that keeps every MQTT packet it passes on, in order, with its time. */
export class PacketTrace {
  readonly packets: TracedPacket[] = [];
  private readonly sockets = new Set<Socket>();
  private readonly server = createServer({ allowHalfOpen: true }, (client) => this.relay(client));

  private constructor(private readonly brokerPort: number) {}

  /** Listens on a free port of 127.0.0.1 and passes everything on to `brokerPort`; ended after the spec's file. */
  static async start(brokerPort: number): Promise<PacketTrace> {
    const trace = new PacketTrace(brokerPort);
    await new Promise<void>((resolve) => trace.server.listen(0, '127.0.0.1', resolve));
    onCleanUp(() => trace.stop());
    return trace;
  }

  get url(): string {
    return `mqtt://127.0.0.1:${(this.server.address() as { port: number }).port}`;
  }

  of(from: TracedPacket['from'], command: Packet['cmd']): TracedPacket[] {
    return this.packets.filter((traced) => traced.from === from && traced.packet.cmd === command);
  }

  /** Cuts every connection that is open now; new ones are relayed again. */
  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private relay(client: Socket): void {
    // Half open: whoever says goodbye hears the end from the other side, as without a relay, once that has read everything.
    const broker = connect({ port: this.brokerPort, host: '127.0.0.1', allowHalfOpen: true });
    // What the broker sends is read in the protocol version of the client's CONNECT.
    const protocol: { protocolVersion?: number } = {};
    this.follow('client', client, broker, protocol);
    this.follow('broker', broker, client, protocol);
  }

  private follow(from: TracedPacket['from'], source: Socket, target: Socket, protocol: { protocolVersion?: number }): void {
    let parser: ReturnType<typeof mqttPacket.parser> | undefined;
    const makeParser = () => {
      const made = mqttPacket.parser(protocol);
      made.on('packet', (packet) => {
        if (packet.cmd === 'connect') protocol.protocolVersion = packet.protocolVersion;
        this.packets.push({ from, atMs: performance.now(), packet });
      });
      return made;
    };
    this.sockets.add(source);
    source.on('data', (chunk) => {
      parser ??= makeParser();
      parser.parse(chunk);
      target.write(chunk);
    });
    source.on('end', () => target.end());
    source.on('error', () => target.destroy());
    source.on('close', () => {
      this.sockets.delete(source);
      target.destroy();
    });
  }
}
