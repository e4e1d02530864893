import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { MqttSettings } from '@tallystick/config';
import { type CustomTransportStrategy, MqttContext, ServerMqtt } from '@nestjs/microservices';
import { connect, type ErrorWithSubackPacket, type IConnackPacket, type IPublishPacket, type MqttClient, type Packet } from 'mqtt';
import { AcknowledgementWindow, type Receipt } from './acknowledgement-window.js';
import { connectOptions, protocolOptions, QUICK_TRIES, quickReconnectDelayMs, reconnectDelayMs, STEADY_MS } from './connect-options.js';
import { deduplicationKeyOf } from './deduplication-key.js';
import { discardSession } from './discard-session.js';
import { sayGoodbye } from './say-goodbye.js';
import { topicMatches } from './topic-filter.js';

/** The handler `@EventPattern('<name>')` gets the packets of its filters, as `ReceivedPacket[]`, in order of receipt. */
export interface Route {
  name: string;
  filters: readonly string[];
  qos: 0 | 1;
  /** Go on without it when the broker refuses the subscription. */
  optional?: boolean;
}

/** What the broker says of itself in CONNACK (MQTT 5 section 3.2.2.3); of 3.1.1 only the version is known. */
export interface BrokerOffer {
  protocolVersion: 4 | 5;
  maximumQoS?: number | undefined;
  maximumPacketSize?: number | undefined;
  sharedSubscriptionAvailable?: boolean | undefined;
  sessionExpiryInterval?: number | undefined;
}

export interface ReceivedPacket {
  topic: string;
  payload: Buffer;
  qos: number;
  retained: boolean;
  /** Unix time in ms of receipt. */
  receivedAtMs: number;
  /** Monotonic ms of receipt: what durations are measured from. */
  arrivedAtMs: number;
  /** Undefined for QoS 0: nobody waits for an acknowledgement. */
  receipt: Receipt | undefined;
  /** The publisher's name for the message, when `deduplicationProperty` is set and the message has a usable one. */
  deduplicationKey: string | undefined;
}

export interface DeferredAckOptions {
  settings: MqttSettings;
  /** Whose session at the broker it is; asked for at the first connection. */
  clientId: () => string;
  routes: readonly Route[];
  /** Most deliveries that the broker may have in flight to us; sent as Receive Maximum. */
  maxUnacknowledged: number;
  /** Most bytes of payloads and topics held unacknowledged before reading stops. */
  maxHeldBytes: number;
  /** Where the filters of an earlier process are remembered: the broker's session keeps them, but does not tell. */
  filterMemory: FilterMemory;
  /** Name of the user property (MQTT 5 section 3.3.2.3.7) that identifies a message. */
  deduplicationProperty?: string | undefined;
}

/** The topic filters that the session at the broker has, kept over restarts of the process. */
export interface FilterMemory {
  load(): Promise<string[]>;
  save(filters: string[]): Promise<void>;
}

/** Another client connected with our client id: two processes are configured alike, and reconnecting would be a fight. */
export class SessionTakenOverError extends Error {
  readonly code = 'SESSION_TAKEN_OVER';
  /** sysexits.h EX_PROTOCOL. */
  readonly exitCode = 76;

  constructor(clientId: string) {
    super(`another client connected to the broker as ${JSON.stringify(clientId)}; give each process an MQTT_CLIENT_ID of its own`);
    this.name = 'SessionTakenOverError';
  }
}

/** What mqtt.js takes for "no acknowledgement now": an error as the outcome of handleMessage. It goes nowhere else. */
const DEFERRED = new Error('the acknowledgement is deferred until the message is stored');

/** DISCONNECT, MQTT 5 section 3.14.2.1. */
const SESSION_TAKEN_OVER = 0x8e;

const SUBSCRIBE_RETRY_MS = 5_000;
const EMPTY_CHECK_MS = 1_000;

/** CONNACK codes that say "not this protocol version": 0x84 in MQTT 5, 1 in 3.1.1. */
const UNSUPPORTED_VERSION_CODES = [0x84, 1];

/**
 * The Nest MQTT transport, but acknowledging only what its user has stored. mqtt.js sends PUBACK as soon as its own
 * handleMessage calls back without an error; here that never happens. The PUBACK is written by `acknowledge`, in order of
 * receipt, and only on the connection on which the message came. Contract with mqtt.js: deferred-ack.server.integration-spec.ts.
 *
 * Packets reach the handlers raw and in arrays, one array per turn of the event loop: Nest's own way decodes every payload
 * as JSON, damages some, and costs three to four times as much.
 */
export class DeferredAckMqttServer extends ServerMqtt implements CustomTransportStrategy {
  private window = new AcknowledgementWindow();
  /** Of connections that have ended: with the handlers still, and in memory, until stored or until the broker sends it again. */
  private readonly leftover = new Set<Receipt>();
  private leftoverBytes = 0;
  /** A PINGREQ has gone out, and nothing has come since. */
  private isPinged = false;
  private arrived: ReceivedPacket[] = [];
  private handingOver = false;
  /** The unanswered callback of one packet: while it is kept, mqtt.js reads nothing more. */
  private resumeReading: (() => void) | undefined;
  /** Keeps the connection alive while nothing is read. */
  private pinging: NodeJS.Timeout | undefined;
  private stopped = false;
  /** Packets taken, over all connections. */
  private taken = 0;
  private failures = 0;
  /** How many more tries follow quickly; then each failure makes the wait longer. */
  private quickTries = 0;
  /** Monotonic ms; undefined while there is no connection. */
  private connectedAtMs: number | undefined;
  /** The reason of the last warning since there was a connection. */
  private warned: string | undefined;
  private subscribed = false;
  private connections = 0;
  /** Told when the broker resumes the session: it sends again what connections before this one left unacknowledged. */
  onResumed: (connection: number) => void = () => undefined;
  /** Told at every connection. */
  onOffer: (offer: BrokerOffer) => void = () => undefined;
  /** Told when the process must not go on. */
  onFatal: (error: Error) => void = (error) => void this.logger.error(error);
  /** Why no messages can arrive; undefined while subscribed. */
  problem: string | undefined = 'not connected yet';

  constructor(private readonly deferred: DeferredAckOptions) {
    super({ url: deferred.settings.url });
  }

  get unacknowledged(): number {
    return this.window.size;
  }

  get connected(): boolean {
    return (this.mqttClient as MqttClient | undefined)?.connected ?? false;
  }

  override createMqttClient(): Promise<MqttClient> {
    const { settings, maxUnacknowledged } = this.deferred;
    const clientId = this.deferred.clientId();
    const client = connect(settings.url, connectOptions(settings, clientId, maxUnacknowledged));
    client.handleMessage = (packet, done) => this.receive(client, packet, done);
    // Before the first message of the connection: mqtt.js emits 'connect' later than that.
    client.on('packetreceive', (packet) => this.onPacket(client, packet));
    client.on('packetsend', (packet) => (this.isPinged ||= packet.cmd === 'pingreq'));
    client.on('connect', (connack) => this.onConnect(client, connack));
    // Before mqtt.js' own listener, which reads the delay.
    client.prependListener('close', () => this.onClose(client));
    client.on('disconnect', (packet) => {
      this.problem = `the broker ended the connection (reason ${packet.reasonCode ?? 0})`;
      if (packet.reasonCode !== SESSION_TAKEN_OVER) return;
      client.end(true);
      this.onFatal(new SessionTakenOverError(clientId));
    });
    return Promise.resolve(client);
  }

  /** Nothing is bound per pattern: `receive` is the only way in, and `onConnect` subscribes to the routes. */
  override bindEvents(): void {}

  override registerErrorListener(client: MqttClient): void {
    client.on('error', (error: Error & { code?: unknown }) => {
      this.problem = error.message || String(error.code);
      if (this.deferred.settings.protocolVersion === 'auto' && client.options.protocolVersion === 5 && refusesVersion(error)) {
        this.logger.log('the broker does not speak MQTT 5; trying 3.1.1');
        Object.assign(client.options, protocolOptions(4, this.deferred.maxUnacknowledged));
      } else {
        this.warnOfTry(this.problem);
      }
    });
  }

  /** Nest's has a line for each try. */
  override registerReconnectListener(): void {}

  /** Marks messages as stored and sends the acknowledgements that are due. Those of an earlier connection are dropped. */
  acknowledge(receipts: Iterable<Receipt | undefined>): void {
    for (const receipt of receipts) if (receipt) this.settle(receipt);
    const packets = this.window.takeSettled();
    const client = this.mqttClient as MqttClient | undefined;
    if (packets.length > 0 && client?.connected) client.stream.write(packets);
    if (this.resumeReading && !this.holdsEnough()) this.letReadingGoOn();
  }

  /** Takes no more packets and resolves when all that were taken are with their handlers; they can still be acknowledged. */
  async stopReading(): Promise<void> {
    this.stopped = true;
    this.letReadingGoOn();
    while (this.arrived.length > 0 || this.handingOver) await nextTurn();
  }

  /** Sends DISCONNECT behind the last acknowledgement; the broker keeps the session. */
  // eslint-disable-next-line @typescript-eslint/no-misused-promises -- declared void, but Nest awaits it
  override async close(): Promise<void> {
    this.stopped = true;
    this.letReadingGoOn();
    const client = this.mqttClient as MqttClient | undefined;
    if (client) await sayGoodbye(client);
  }

  /**
   * For a session that is to end and subscribes to nothing any more: resolves with the number of packets taken when the broker has
   * nothing left for it. A broker answers in order, so what it had when it read our last PUBACK comes before its UNSUBACK. Asked twice, a
   * second apart.
   */
  async emptied(): Promise<number> {
    for (let silences = 0; silences < 2;) {
      await sleep(EMPTY_CHECK_MS);
      const before = this.taken;
      const answered = !this.isAtWork() && (await this.unsubscribe());
      silences = answered && this.taken === before && !this.isAtWork() ? silences + 1 : 0;
    }
    return this.taken;
  }

  /** Ends the connection and the session with it: the broker forgets it, and whatever it may still hold for it. */
  async endSession(): Promise<void> {
    const { protocolVersion } = (this.mqttClient as MqttClient).options;
    await this.close();
    await discardSession(this.deferred.settings, this.deferred.clientId(), protocolVersion === 5 ? 5 : 4);
  }

  private isAtWork(): boolean {
    return (
      !this.subscribed || !this.connected || this.arrived.length > 0 || this.handingOver || this.window.size > 0 || this.leftover.size > 0
    );
  }

  /** Whether the broker has answered. */
  private async unsubscribe(): Promise<boolean> {
    const filters = await this.deferred.filterMemory.load();
    return (this.mqttClient as MqttClient).unsubscribeAsync(filters.length > 0 ? filters : ['-']).then(
      () => true,
      () => false,
    );
  }

  private receive(client: MqttClient, packet: IPublishPacket, done: (error?: Error) => void): void {
    // Left over from a connection that is gone: the broker sends it again.
    if (!client.connected) return done(DEFERRED);
    // Read and left unacknowledged, so that the broker keeps it: a stream that nobody reads would never see the broker close it.
    if (this.stopped) return done(DEFERRED);
    // A topic has up to 64 KiB of its own, and whoever publishes chooses it.
    const sizeBytes = packet.topic.length + packet.payload.length;
    this.taken++;
    this.arrived.push({
      topic: packet.topic,
      payload: packet.payload as Buffer,
      qos: packet.qos,
      retained: packet.retain,
      receivedAtMs: Date.now(),
      arrivedAtMs: performance.now(),
      receipt: packet.qos === 0 ? undefined : this.window.hold(packet.messageId!, sizeBytes, packet.dup),
      deduplicationKey: deduplicationKeyOf(packet, this.deferred.deduplicationProperty),
    });
    if (this.arrived.length === 1) setImmediate(() => void this.handOver());
    // Mosquitto 2.0 exceeds the Receive Maximum while acknowledgements flow, so reading stops at twice that and not at once:
    // with equal marks the keepalive starves.
    if (this.holdsEnough()) this.letReadingWait(client, () => done(DEFERRED));
    else done(DEFERRED);
  }

  private settle(receipt: Receipt): void {
    receipt.settled = true;
    if (this.leftover.delete(receipt)) this.leftoverBytes -= receipt.sizeBytes;
  }

  private holdsEnough(): boolean {
    const { maxUnacknowledged, maxHeldBytes } = this.deferred;
    return this.window.size + this.leftover.size >= 2 * maxUnacknowledged || this.window.sizeBytes + this.leftoverBytes >= maxHeldBytes;
  }

  private letReadingWait(client: MqttClient, resume: () => void): void {
    this.resumeReading = resume;
    // The broker goes on hearing from us. Its answers lie unread behind the packets, so mqtt.js must not take them for missing.
    this.pinging = setInterval(() => {
      client.sendPing();
      client.reschedulePing(true);
    }, this.deferred.settings.keepaliveS * 500);
  }

  private letReadingGoOn(): void {
    const resume = this.resumeReading;
    this.forgetWaiting();
    resume?.();
  }

  private forgetWaiting(): void {
    this.resumeReading = undefined;
    clearInterval(this.pinging);
  }

  /** Gives what has arrived to the handlers, each route's packets in one array; one array at a time, so that order holds. */
  private async handOver(): Promise<void> {
    if (this.handingOver) return;
    this.handingOver = true;
    const { routes } = this.deferred;
    while (this.arrived.length > 0) {
      const packets = this.arrived;
      this.arrived = [];
      for (const route of routes) {
        const own = routes.length === 1 ? packets : packets.filter((packet) => this.routeOf(packet.topic) === route);
        if (own.length > 0) await this.handleEvent(route.name, { pattern: route.name, data: own }, new MqttContext([route.name, {}]));
      }
    }
    this.handingOver = false;
  }

  /** What fits no other route is the first one's, also what an earlier process had subscribed to: somebody must answer for it. */
  private routeOf(topic: string): Route {
    const [first, ...others] = this.deferred.routes;
    return others.find((route) => route.filters.some((filter) => topicMatches(filter, topic))) ?? first!;
  }

  private onPacket(client: MqttClient, packet: Packet): void {
    // The answer to a ping lies behind what the broker sent before it, which may be much. Whatever comes shows that it is there; once
    // for each ping, so that the next one leaves in time.
    if (this.isPinged) client.reschedulePing(true);
    this.isPinged = false;
    if (packet.cmd !== 'connack' || (packet.reasonCode ?? packet.returnCode ?? 0) !== 0) return;
    this.window = new AcknowledgementWindow(++this.connections, packet.sessionPresent, this.deferred.maxUnacknowledged);
    if (!packet.sessionPresent) return;
    this.leftover.clear();
    this.leftoverBytes = 0;
    this.onResumed(this.connections);
  }

  private onConnect(client: MqttClient, connack: IConnackPacket): void {
    this.failures = 0;
    this.connectedAtMs = performance.now();
    this.warned = undefined;
    this.onOffer({ ...connack.properties, protocolVersion: client.options.protocolVersion === 5 ? 5 : 4 });
    // A resumed session still has the subscriptions that this process made; subscribing again would replay retained messages. Not so the
    // shared ones, which bring none: Mosquitto (up to 2.1 at least) does not save them, and resumes the session without them.
    const { routes } = this.deferred;
    const missing = connack.sessionPresent && this.subscribed ? routes.filter(isShared) : routes;
    if (missing.length === 0) return void (this.problem = undefined);
    this.problem = 'not subscribed yet';
    void this.subscribe(client, missing, connack.sessionPresent);
  }

  private async subscribe(client: MqttClient, routes: readonly Route[], resumed: boolean): Promise<void> {
    const filters = this.deferred.routes.flatMap((route) => route.filters);
    try {
      // Earlier filters leave the session before new ones come, or its messages would be delivered for ever. Once that is done, the
      // memory is as it should be, and subscribing again does not wait for it.
      const obsolete =
        resumed && !this.subscribed ? (await this.deferred.filterMemory.load()).filter((filter) => !filters.includes(filter)) : [];
      if (obsolete.length > 0) await client.unsubscribeAsync(obsolete);
      for (const route of routes) await this.subscribeTo(client, route);
      if (!this.subscribed) await this.deferred.filterMemory.save(filters);
    } catch (error) {
      this.problem = `not subscribed: ${(error as Error).message}`;
      this.logger.error(this.problem);
      // The next connection tries again; without one (the database was away, say) a later try must.
      if (client.connected) setTimeout(() => client.connected && void this.subscribe(client, routes, resumed), SUBSCRIBE_RETRY_MS).unref();
      return;
    }
    this.subscribed = true;
    this.problem = undefined;
  }

  private async subscribeTo(client: MqttClient, { filters, qos, optional }: Route): Promise<void> {
    if (filters.length === 0) return;
    if (optional) {
      await client.subscribeAsync([...filters], { qos }).catch((error: Error) => void this.logger.warn(error.message));
      return;
    }
    // Retain handling 1: retained messages only with a subscription that is new to the broker (MQTT 5 section 3.8.3.1).
    try {
      await client.subscribeAsync([...filters], { qos, rh: 1 });
    } catch (error) {
      // A reason code from 0x80 up refuses the filter at its place (MQTT 5 section 3.9.3). mqtt.js' message does not name it.
      const granted = ((error as Partial<ErrorWithSubackPacket>).packet?.granted ?? []) as number[];
      const refused = filters.filter((_, index) => (granted[index] ?? 0) >= 0x80);
      if (refused.length === 0) throw error;
      throw new Error(`the broker refused ${refused.join(', ')} (${(error as Error).message})`, { cause: error });
    }
  }

  private onClose(client: MqttClient): void {
    for (const receipt of this.window.unsettled) {
      this.leftover.add(receipt);
      this.leftoverBytes += receipt.sizeBytes;
    }
    // Acknowledgements do not outlive their connection: the broker redelivers, and its packet identifiers start anew.
    this.window = new AcknowledgementWindow(this.connections);
    this.forgetWaiting();
    this.problem ??= 'the connection to the broker is lost';
    if (this.connectedAtMs !== undefined) {
      if (!client.disconnecting) this.logger.log(`${this.problem}; trying to reconnect`);
      if (performance.now() - this.connectedAtMs >= STEADY_MS) this.quickTries = QUICK_TRIES;
      this.connectedAtMs = undefined;
    }
    client.options.reconnectPeriod = this.quickTries-- > 0 ? quickReconnectDelayMs() : reconnectDelayMs(this.failures++);
  }

  /** A line for each reason, and for each try only when they are seldom. */
  private warnOfTry(reason: string): void {
    if (this.quickTries <= 0 || reason !== this.warned) this.logger.warn(`broker: ${reason}`);
    this.warned = reason;
  }
}

/** MQTT 5 section 4.8.2. */
function isShared({ filters }: Route): boolean {
  return filters.some((filter) => filter.startsWith('$share/'));
}

function refusesVersion(error: Error & { code?: unknown }): boolean {
  return typeof error.code === 'number' && UNSUPPORTED_VERSION_CODES.includes(error.code);
}
