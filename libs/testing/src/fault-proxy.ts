import { createServer, connect, type Server, type Socket } from 'node:net';
import { onCleanUp } from './clean-up.js';

/** `up` is from the client to the server. */
export type Direction = 'up' | 'down';

interface DirectionFaults {
  latencyMs: number;
  /** Infinity = as fast as it goes */
  bytesPerS: number;
  isHeld: boolean;
}

/** Beyond this a direction reads no more until it has passed on what it has: a slow link fills up, it does not swallow. */
const MOST_UNDERWAY_BYTES = 256 * 1024;

const BOTH: readonly Direction[] = ['up', 'down'];

/** A TCP relay on 127.0.0.1 whose faults are switched on and off while it runs. Knows nothing of what it carries. */
export class FaultProxy {
  /** Connections taken since the start. */
  accepted = 0;
  /** Connections that `resetAfter` has reset. */
  resets = 0;
  /** Bytes passed on since the start. */
  readonly passed: Record<Direction, number> = { up: 0, down: 0 };
  /** @internal */
  readonly faults: Record<Direction, DirectionFaults> = { up: withoutFaults(), down: withoutFaults() };
  /** @internal bytes until the reset, counted on each connection from the call of `resetAfter` on */
  pendingReset: { direction: Direction; bytes: number } | undefined;
  private readonly links = new Set<Link>();
  private isHalfOpen = false;
  private server: Server | undefined;

  private constructor(
    readonly targetPort: number,
    /** where it listens */
    public port: number,
  ) {}

  /** Listens on a free port and forwards to `targetPort`, both on 127.0.0.1; ended after the spec's file. */
  static async start(targetPort: number): Promise<FaultProxy> {
    const proxy = new FaultProxy(targetPort, 0);
    await proxy.listen();
    onCleanUp(() => proxy.stop());
    return proxy;
  }

  /** Delays every byte, like a long way. */
  delay(latencyMs: number, directions: readonly Direction[] = BOTH): void {
    for (const direction of directions) this.faults[direction].latencyMs = latencyMs;
  }

  /** Passes on this many bytes per second on each connection, like a narrow link. */
  limit(bytesPerS: number, directions: readonly Direction[] = BOTH): void {
    for (const direction of directions) this.faults[direction].bytesPerS = bytesPerS;
  }

  /** Resets the first connection that has carried so many more bytes in this direction: exactly these arrive. Once; call it again for another. */
  resetAfter(bytes: number, direction: Direction = 'up'): void {
    this.pendingReset = { direction, bytes };
    for (const link of this.links) link.countAnew();
  }

  /** Passes nothing on and closes nothing, like a cable pulled out. What is under way arrives after `heal`, unless `cut` comes first. */
  blackhole(directions: readonly Direction[] = BOTH): void {
    for (const direction of directions) this.faults[direction].isHeld = true;
  }

  /** The connections of now never carry anything again and are not closed, like after a firewall that forgot them; new ones work. */
  strand(): void {
    for (const link of this.links) link.strand();
  }

  /** New connections are taken, what they send is swallowed, and nobody answers, like from a server that hangs. */
  halfOpen(): void {
    this.isHalfOpen = true;
  }

  /** New connections are refused; those of now go on. */
  refuse(): void {
    this.server?.close();
    this.server = undefined;
  }

  /** Resets every connection of now; new ones are as the other faults say. */
  cut(): void {
    for (const link of this.links) link.reset();
  }

  /** Ends every fault but what was reset, stranded or swallowed already. */
  async heal(): Promise<void> {
    for (const direction of BOTH) this.faults[direction] = withoutFaults();
    this.isHalfOpen = false;
    this.pendingReset = undefined;
    for (const link of this.links) link.goOn();
    await this.listen();
  }

  async stop(): Promise<void> {
    this.cut();
    const { server } = this;
    this.server = undefined;
    if (server) await new Promise((resolve) => server.close(resolve));
  }

  private async listen(): Promise<void> {
    if (this.server) return;
    const server = createServer({ allowHalfOpen: true }, (client) => this.accept(client));
    this.server = server;
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(this.port, '127.0.0.1', resolve));
    this.port = (server.address() as { port: number }).port;
  }

  private accept(client: Socket): void {
    this.accepted += 1;
    const link = new Link(
      this,
      client,
      this.isHalfOpen ? undefined : connect({ port: this.targetPort, host: '127.0.0.1', allowHalfOpen: true }),
    );
    this.links.add(link);
    client.once('close', () => this.links.delete(link));
  }
}

/** One connection through the proxy. */
class Link {
  private readonly streams: OneWay[] = [];
  private readonly sockets: Socket[];

  constructor(proxy: FaultProxy, client: Socket, server: Socket | undefined) {
    this.sockets = server ? [client, server] : [client];
    for (const socket of this.sockets) socket.setNoDelay().on('error', () => undefined);
    if (!server) {
      client.resume();
      return;
    }
    this.streams = [new OneWay(proxy, this, 'up', client, server), new OneWay(proxy, this, 'down', server, client)];
    client.once('close', () => server.destroy());
    server.once('close', () => client.destroy());
  }

  countAnew(): void {
    for (const stream of this.streams) stream.countAnew();
  }

  goOn(): void {
    for (const stream of this.streams) stream.passOn();
  }

  strand(): void {
    for (const stream of this.streams) stream.strand();
  }

  reset(): void {
    for (const socket of this.sockets) socket.resetAndDestroy();
  }
}

/** One direction of one connection: chunks in order, each with the time before which it is not passed on. */
class OneWay {
  private readonly queue: { chunk: Buffer | 'end'; dueAtMs: number }[] = [];
  private queuedBytes = 0;
  private linkFreeAtMs = 0;
  private sinceCountedBytes = 0;
  private isStranded = false;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly proxy: FaultProxy,
    private readonly link: Link,
    private readonly direction: Direction,
    private readonly source: Socket,
    private readonly target: Socket,
  ) {
    source.on('data', (chunk: Buffer) => this.enqueue(chunk));
    source.on('end', () => this.enqueue('end'));
    source.on('close', () => clearTimeout(this.timer));
    target.on('drain', () => this.passOn());
  }

  countAnew(): void {
    this.sinceCountedBytes = 0;
  }

  strand(): void {
    this.isStranded = true;
    this.source.pause();
  }

  /** Passes on what is due, unless it is held back or the other side does not read. */
  passOn(): void {
    clearTimeout(this.timer);
    const { isHeld } = this.proxy.faults[this.direction];
    while (!isHeld && !this.isStranded && !this.target.writableNeedDrain) {
      const [first] = this.queue;
      if (!first) break;
      const waitMs = first.dueAtMs - performance.now();
      if (waitMs > 0) {
        this.timer = setTimeout(() => this.passOn(), Math.ceil(waitMs));
        break;
      }
      this.queue.shift();
      if (first.chunk === 'end') this.target.end();
      else if (!this.write(first.chunk)) return;
    }
    if (this.queuedBytes < MOST_UNDERWAY_BYTES && !this.isStranded) this.source.resume();
  }

  private enqueue(chunk: Buffer | 'end'): void {
    const { latencyMs, bytesPerS } = this.proxy.faults[this.direction];
    const sizeBytes = chunk === 'end' ? 0 : chunk.length;
    this.linkFreeAtMs = Math.max(performance.now(), this.linkFreeAtMs) + (sizeBytes / bytesPerS) * 1000;
    this.queue.push({ chunk, dueAtMs: this.linkFreeAtMs + latencyMs });
    this.queuedBytes += sizeBytes;
    if (this.queuedBytes >= MOST_UNDERWAY_BYTES) this.source.pause();
    this.passOn();
  }

  /** False when the connection was reset at this chunk. */
  private write(chunk: Buffer): boolean {
    const { proxy, direction } = this;
    const { pendingReset } = proxy;
    const left = pendingReset?.direction === direction ? pendingReset.bytes - this.sinceCountedBytes : Infinity;
    const passed = chunk.subarray(0, Math.min(chunk.length, left));
    this.queuedBytes -= chunk.length;
    this.sinceCountedBytes += passed.length;
    proxy.passed[direction] += passed.length;
    if (passed.length > 0) this.target.write(passed);
    if (chunk.length < left) return true;
    proxy.pendingReset = undefined;
    proxy.resets += 1;
    this.link.reset();
    return false;
  }
}

function withoutFaults(): DirectionFaults {
  return { latencyMs: 0, bytesPerS: Infinity, isHeld: false };
}
