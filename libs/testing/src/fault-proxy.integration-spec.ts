import { createServer, connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { stopAll } from './clean-up.js';
import { FaultProxy } from './fault-proxy.js';
import { until } from './until.js';

/** Long enough to see that nothing comes. */
const SILENCE_MS = 150;

describe('FaultProxy', () => {
  const received: Buffer[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      received.push(chunk);
      socket.write(chunk); // an echo
    });
  });
  let proxy: FaultProxy;

  beforeAll(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
  beforeEach(async () => {
    received.length = 0;
    proxy = await FaultProxy.start((server.address() as { port: number }).port);
  });
  afterEach(stopAll);
  afterAll(() => server.close());

  it('passes everything on, in order, and the end of a side', async () => {
    const client = await dial(proxy.port);
    const data = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => i % 251));
    client.socket.write(data);
    await until(() => client.bytes() === data.length);
    expect(client.text().equals(data)).toBe(true);
    expect(proxy.passed).toEqual({ up: data.length, down: data.length });
    client.socket.end();
    await until(() => client.ended);
    expect(client.error).toBeUndefined();
  });

  it('delays one direction', async () => {
    const client = await dial(proxy.port);
    proxy.delay(SILENCE_MS, ['down']);
    const startedAtMs = performance.now();
    client.socket.write('x');
    await until(() => received.length > 0);
    expect(performance.now() - startedAtMs).toBeLessThan(SILENCE_MS);
    await until(() => client.bytes() === 1);
    expect(performance.now() - startedAtMs).toBeGreaterThanOrEqual(SILENCE_MS);
  });

  it('limits the rate', async () => {
    const client = await dial(proxy.port);
    proxy.limit(100_000, ['up']);
    const startedAtMs = performance.now();
    client.socket.write(Buffer.alloc(50_000));
    await until(() => client.bytes() === 50_000);
    expect(performance.now() - startedAtMs).toBeGreaterThanOrEqual(450);
  });

  it('resets a connection after exactly so many bytes, once', async () => {
    const client = await dial(proxy.port);
    client.socket.write('before');
    await until(() => client.bytes() === 6);
    proxy.resetAfter(1_000);
    client.socket.write(Buffer.alloc(5_000));
    await until(() => client.closed);
    expect(client.error).toBe('ECONNRESET');
    expect(proxy.passed.up).toBe(1_006);
    expect(proxy.resets).toBe(1);
    const next = await dial(proxy.port);
    next.socket.write(Buffer.alloc(5_000));
    await until(() => next.bytes() === 5_000);
  });

  it('holds back without closing, and goes on where it was', async () => {
    const client = await dial(proxy.port);
    proxy.blackhole();
    client.socket.write('held');
    await sleep(SILENCE_MS);
    expect(received).toEqual([]);
    expect(client.closed).toBe(false);
    await proxy.heal();
    await until(() => client.text().toString() === 'held');
  });

  it('forgets what it held back when the connection is cut', async () => {
    const client = await dial(proxy.port);
    proxy.blackhole(['up']);
    client.socket.write('lost');
    await sleep(SILENCE_MS);
    proxy.cut();
    await until(() => client.closed);
    await proxy.heal();
    const next = await dial(proxy.port);
    next.socket.write('kept');
    await until(() => next.bytes() === 4);
    expect(Buffer.concat(received).toString()).toBe('kept');
  });

  it('strands the connections of now and serves new ones', async () => {
    const stranded = await dial(proxy.port);
    proxy.strand();
    stranded.socket.write('lost');
    const next = await dial(proxy.port);
    next.socket.write('kept');
    await until(() => next.bytes() === 4);
    await proxy.heal();
    await sleep(SILENCE_MS);
    expect(Buffer.concat(received).toString()).toBe('kept');
    expect(stranded.closed).toBe(false);
  });

  it('takes connections and swallows what they send', async () => {
    proxy.halfOpen();
    const client = await dial(proxy.port);
    client.socket.write('swallowed');
    await sleep(SILENCE_MS);
    expect(client.closed).toBe(false);
    expect(received).toEqual([]);
    expect(proxy.accepted).toBe(1);
  });

  it('refuses new connections on the same port until it is healed', async () => {
    const early = await dial(proxy.port);
    proxy.refuse();
    await expect(dial(proxy.port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    early.socket.write('still here');
    await until(() => early.bytes() === 10);
    await proxy.heal();
    await dial(proxy.port);
    expect(proxy.accepted).toBe(2);
  });
});

async function dial(port: number) {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  return new Client(socket);
}

class Client {
  private readonly chunks: Buffer[] = [];
  error: string | undefined;
  ended = false;
  closed = false;

  constructor(readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => this.chunks.push(chunk));
    socket.on('error', (error: NodeJS.ErrnoException) => (this.error = error.code));
    socket.on('end', () => (this.ended = true));
    socket.on('close', () => (this.closed = true));
  }

  text(): Buffer {
    return Buffer.concat(this.chunks);
  }

  bytes(): number {
    return this.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }
}
