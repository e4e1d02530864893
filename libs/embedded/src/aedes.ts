import { createServer, type Server, type Socket } from 'node:net';
import type { Aedes, Client } from 'aedes';
import { BrokerCensus } from './broker-census.js';
import {
  type BrokerLogLine,
  clientGone,
  type DisconnectReason,
  logPayload,
  newClient,
  newConnection,
  type PeerAddress,
  subscribed,
  unsubscribed,
} from './broker-log-lines.js';
import { BROKER_PORT_SETTING, type EmbeddedBroker } from './embedded-broker.js';
import { MissingProgramError, PortInUseError } from './errors.js';
import type { ServerExit } from './server-process.js';

export interface AedesOptions {
  /** 0 = a free one */
  port: number;
  /** how often `$SYS` is published; 5 s by default, as our Mosquitto */
  sysIntervalMs?: number;
}

/** What the type declarations of aedes 1.2.0 leave out. The version is pinned; aedes.integration-spec.ts fails if these change. */
interface AedesUndeclared {
  version: string;
}
interface ClientUndeclared {
  /** the client sent DISCONNECT */
  _disconnected: boolean;
}

/**
 * Starts the embedded broker inside this process, for machines without Mosquitto: MQTT 3.1.1 only, messages in memory only,
 * `$share` subscriptions deliver nothing. It speaks about itself as Mosquitto 2.0 does, on `$SYS/broker/…`.
 */
export async function startAedes({ port: wanted, sysIntervalMs = 5_000 }: AedesOptions): Promise<EmbeddedBroker> {
  const aedes = await (await loadAedes()).Aedes.createBroker();
  const server = createServer();
  const port = await listen(server, wanted).catch((error: unknown) => {
    aedes.close();
    throw error;
  });
  const broker = new SelfReportingBroker(aedes, server, port);
  const reporting = setInterval(() => broker.reportMetrics(), sysIntervalMs);
  broker.reportMetrics();

  let end: (exit: ServerExit) => void;
  const exited = new Promise<ServerExit>((resolve) => (end = resolve));
  const close = async (brutally: boolean) => {
    clearInterval(reporting);
    await broker.close(brutally);
    end(brutally ? { code: null, signal: 'SIGKILL' } : { code: 0, signal: null });
  };
  return { kind: 'aedes', url: `mqtt://127.0.0.1:${port}`, port, stop: () => close(false), kill: () => close(true), exited };
}

/** Only here: the images of the services are without it. */
function loadAedes() {
  return import('aedes').catch((cause: unknown) => {
    throw new MissingProgramError(
      'The package aedes is not installed. Run `npm ci` without `--omit=optional`, install Mosquitto, or set MQTT_URL to a broker of your own.',
      { cause },
    );
  });
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'EADDRINUSE' ? new PortInUseError(port, 'The MQTT broker', BROKER_PORT_SETTING, { cause: error }) : error),
    );
    server.listen({ port, host: '127.0.0.1' }, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : port);
    });
  });
}

/** Turns what aedes tells about its clients into `$SYS/broker/…` messages. */
class SelfReportingBroker {
  private readonly census = new BrokerCensus();
  private readonly sockets = new Set<Socket>();
  /** of connections that have closed */
  private readonly closedBytes = { received: 0, sent: 0 };
  private readonly clients = new Map<string, Client>();
  /** set before a client is gone, when something else than DISCONNECT or a closed socket ends it */
  private readonly endReasons = new WeakMap<Client, DisconnectReason>();
  /** of the CONNECT packet; aedes keeps neither */
  private readonly connectFields = new WeakMap<Client, { keepaliveSeconds: number; username?: string | undefined }>();
  private readonly published = new Map<string, string>();
  private readonly startedAtMs = Date.now();
  private sampledAtMs = Date.now();
  private closing = false;

  constructor(
    private readonly aedes: Aedes,
    private readonly server: Server,
    private readonly port: number,
  ) {
    server.on('connection', (socket) => this.accept(socket));
    this.watchConnections();
    this.watchTraffic();
    this.publish('version', `aedes version ${(aedes as unknown as AedesUndeclared).version}`, true);
  }

  /** As Mosquitto: at each interval the values that changed; uptime always does. */
  reportMetrics(): void {
    const now = Date.now();
    this.countBytes();
    for (const [topic, value] of this.census.sample((now - this.startedAtMs) / 1000, (now - this.sampledAtMs) / 1000)) {
      if (this.published.get(topic) === value) continue;
      this.published.set(topic, value);
      this.publish(topic, value, true);
    }
    this.sampledAtMs = now;
  }

  async close(brutally: boolean): Promise<void> {
    if (this.closing) return;
    this.closing = true; // a broker that goes down writes no line about its clients
    const closed = new Promise((resolve) => this.server.close(resolve));
    if (brutally) this.sockets.forEach((socket) => socket.destroy());
    await new Promise<void>((resolve) => this.aedes.close(resolve));
    this.sockets.forEach((socket) => socket.destroy()); // those that never became clients
    await closed;
  }

  private countBytes(): void {
    const sum = (bytes: (socket: Socket) => number) => [...this.sockets].reduce((total, socket) => total + bytes(socket), 0);
    this.census.traffic.bytesReceived = this.closedBytes.received + sum((socket) => socket.bytesRead);
    this.census.traffic.bytesSent = this.closedBytes.sent + sum((socket) => socket.bytesWritten);
  }

  private accept(socket: Socket): void {
    socket.setNoDelay(true);
    this.census.traffic.sockets += 1;
    this.sockets.add(socket);
    socket.once('close', () => {
      this.sockets.delete(socket);
      this.closedBytes.received += socket.bytesRead;
      this.closedBytes.sent += socket.bytesWritten;
    });
    this.log(newConnection(peerOf(socket), this.port));
    this.aedes.handle(socket);
  }

  private watchConnections(): void {
    const { aedes, census } = this;
    aedes.preConnect = (client, packet, done) => {
      census.traffic.messagesReceived += 1;
      this.connectFields.set(client, { keepaliveSeconds: packet.keepalive ?? 0, username: packet.username });
      done(null, true);
    };
    aedes.authenticate = (client, _username, _password, done) => {
      // the place where the id is known and the old connection still open
      const old = this.clients.get(client.id);
      if (old) this.endReasons.set(old, 'taken-over');
      done(null, true);
    };
    aedes.on('client', (client) => {
      const fields = this.connectFields.get(client) ?? { keepaliveSeconds: 0 };
      this.clients.set(client.id, client);
      census.connected(client.id, client.clean);
      census.traffic.connections += 1;
      this.log(
        newClient({ id: client.id, peer: peerOf(client.conn as Socket), protocolLevel: client.version, clean: client.clean, ...fields }),
      );
    });
    aedes.on('keepaliveTimeout', (client) => this.endReasons.set(client, 'timeout'));
    aedes.on('clientError', (client, error) => {
      // a system error has a code and means that the network went; what is left is a client that broke the protocol
      const reason = 'code' in error ? 'closed' : 'protocol-error';
      if (!this.endReasons.has(client)) this.endReasons.set(client, reason);
    });
    aedes.on('connectionError', () => this.log(clientGone('<unknown>', 'protocol-error')));
    aedes.on('clientDisconnect', (client) => {
      const saidGoodbye = (client as unknown as ClientUndeclared)._disconnected;
      if (this.clients.get(client.id) === client) this.clients.delete(client.id);
      census.disconnected(client.id);
      this.log(clientGone(client.id, this.endReasons.get(client) ?? (saidGoodbye ? 'disconnected' : 'closed')));
    });
  }

  private watchTraffic(): void {
    const { aedes, census } = this;
    const { traffic } = census;
    aedes.on('subscribe', (subscriptions, client) => {
      traffic.messagesReceived += 1;
      traffic.messagesSent += 1;
      for (const { topic, qos } of subscriptions) {
        census.subscribed(client.id, topic);
        this.log(subscribed(client.id, qos, topic));
      }
    });
    aedes.on('unsubscribe', (topics, client) => {
      if (client.closed) return; // aedes unsubscribes a client that is gone; nobody asked for it
      traffic.messagesReceived += 1;
      traffic.messagesSent += 1;
      for (const topic of topics) {
        census.unsubscribed(client.id, topic);
        this.log(unsubscribed(client.id, topic));
      }
    });
    aedes.on('publish', (packet, client) => {
      if (packet.retain) census.retained(packet.topic, packet.payload.length);
      if (!client) return;
      traffic.messagesReceived += 1;
      traffic.publishReceived += 1;
      traffic.publishBytesReceived += packet.payload.length;
      if (packet.qos > 0) traffic.messagesSent += 1;
    });
    aedes.authorizeForward = (_client, packet) => {
      traffic.messagesSent += 1;
      traffic.publishSent += 1;
      traffic.publishBytesSent += packet.payload.length;
      return packet;
    };
    aedes.on('connackSent', () => (traffic.messagesSent += 1));
    aedes.on('ack', () => (traffic.messagesReceived += 1));
    aedes.on('ping', () => {
      traffic.messagesReceived += 1;
      traffic.messagesSent += 1;
    });
  }

  private log(line: BrokerLogLine): void {
    if (!this.closing) this.publish(`log/${line.leaf}`, logPayload(line, Date.now() / 1000), false);
  }

  /** QoS 0: a watcher that is away misses lines here, as it does after 20 s with Mosquitto, and they do not pile up in memory. */
  private publish(topic: string, payload: string | Buffer, retain: boolean): void {
    this.aedes.publish({ cmd: 'publish', topic: `$SYS/broker/${topic}`, payload, qos: 0, retain, dup: false }, () => undefined);
  }
}

function peerOf(socket: Socket): PeerAddress {
  return { address: socket.remoteAddress ?? '127.0.0.1', port: socket.remotePort ?? 0 };
}
