import { pbkdf2Sync, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '@tallystick/embedded';
import {
  createTestDatabase,
  onCleanUp,
  PacketTrace,
  type RunningApp,
  startApp,
  startTestBroker,
  TestAuthority,
  until,
} from '@tallystick/testing';
import { connectAsync, type IPublishPacket } from 'mqtt';
import { count, metric, publisher, startBridge } from './bridge.js';

const TOPIC = 'veep/t/s/d/data';

/** A bridge that need not become ready. */
async function launch(mqttUrl: string, env: Record<string, string> = {}): Promise<RunningApp> {
  const database = await createTestDatabase();
  return startApp('ingest-bridge', { DATABASE_URL: database.url, DATABASE_ALLOW_DATA_LOSS: 'true', MQTT_URL: mqttUrl, ...env });
}

async function isReady(app: RunningApp): Promise<boolean> {
  return (await fetch(`${app.url}/readyz`)).ok;
}

/** Topics of what the broker delivered, but for its own state. */
function delivered(trace: PacketTrace, which: (packet: IPublishPacket) => boolean = () => true): string[] {
  const packets = trace.of('broker', 'publish').map(({ packet }) => packet as IPublishPacket);
  return packets.filter((packet) => !packet.topic.startsWith('$SYS/') && which(packet)).map(({ topic }) => topic);
}

/** Waits for the reason that /health gives for the broker. */
async function brokerProblem(app: RunningApp, pattern: RegExp): Promise<string> {
  return until(async () => {
    const { details } = (await (await fetch(`${app.url}/health`)).json()) as { details: { broker: { status: string; reason?: string } } };
    return details.broker.status === 'down' && pattern.test(details.broker.reason ?? '') && details.broker.reason;
  });
}

function temporaryFolder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'tallystick-connection-'));
  onCleanUp(() => Promise.resolve(rmSync(dir, { recursive: true, force: true })));
  return dir;
}

/** A line of Mosquitto's password_file: PBKDF2-HMAC-SHA512, 101 rounds. */
function passwordLine(user: string, password: string): string {
  const salt = randomBytes(12);
  return `${user}:$7$101$${salt.toString('base64')}$${pbkdf2Sync(password, salt, 101, 64, 'sha512').toString('base64')}\n`;
}

/** The plugin that comes with Mosquitto 2: unlike an acl_file it refuses a subscription in the SUBACK. */
function dynamicSecurityPlugin(): string {
  const libraries = ['/usr/lib', '/usr/local/lib', '/opt/homebrew/lib'].filter((dir) => existsSync(dir));
  const folders = libraries.flatMap((dir) => [dir, ...readdirSync(dir).map((name) => join(dir, name))]);
  const found = folders.map((dir) => join(dir, 'mosquitto_dynamic_security.so')).find((file) => existsSync(file));
  if (!found) throw new Error('mosquitto_dynamic_security.so, which comes with Mosquitto 2, is not on this machine.');
  return found;
}

describe('a broker that refuses', () => {
  it('a filter: not ready, with the filter as the reason, until it grants it', async () => {
    const file = join(temporaryFolder(), 'dynamic-security.json');
    const mayAll = { publishClientSend: true, publishClientReceive: true, unsubscribe: true };
    const allow = (subscribe: boolean) => writeFileSync(file, JSON.stringify({ defaultACLAccess: { ...mayAll, subscribe } }));
    allow(false);
    const broker = await startTestBroker({ configLines: [`plugin ${dynamicSecurityPlugin()}`, `plugin_opt_config_file ${file}`] });
    const app = await launch(broker.url);
    expect(await brokerProblem(app, /refused/)).toContain('veep/+/+/+/data');
    expect(await isReady(app)).toBe(false);
    expect((await fetch(`${app.url}/livez`)).status).toBe(200);

    allow(true);
    await broker.restart();
    await app.waitForReady();
    expect(await app.stop()).toBe(0);
  });

  it('the password: not ready, trying on, and ready once it is right', async () => {
    const file = join(temporaryFolder(), 'passwords');
    writeFileSync(file, passwordLine('bridge', 'another'));
    const broker = await startTestBroker({ configLines: ['allow_anonymous false', `password_file ${file}`] });
    const app = await launch(broker.url, { MQTT_USERNAME: 'bridge', MQTT_PASSWORD: 's3cret-of-the-bridge' });
    await brokerProblem(app, /not authori[sz]ed|bad user ?name or password/i);
    const refusals = () => app.logs.filter(({ message }) => /Connection refused/.test(String(message))).length;
    await until(() => refusals() >= 2);
    expect(await isReady(app)).toBe(false);

    writeFileSync(file, passwordLine('bridge', 's3cret-of-the-bridge'));
    process.kill(broker.pid, 'SIGHUP');
    await app.waitForReady();
    expect(JSON.stringify(app.logs)).not.toContain('s3cret-of-the-bridge');
    expect(await app.stop()).toBe(0);
  });
});

describe('changed MQTT_TOPICS', () => {
  it('take the earlier filter out of the session that the broker kept', async () => {
    const broker = await startTestBroker();
    const trace = await PacketTrace.start(broker.port);
    const { app, env, sql } = await startBridge(trace.url, { MQTT_TOPICS: 'old/+/+/+/data,veep/+/+/+/data' });
    const device = await publisher(broker.url);
    await device.publishAsync('old/t/s/d/data', '1', { qos: 1 });
    await until(async () => (await count(sql, 'messages')) === 1);
    expect(await app.stop()).toBe(0);

    const changed = await startApp('ingest-bridge', { ...env, MQTT_TOPICS: 'veep/+/+/+/data,new/+/+/+/data' });
    await changed.waitForReady();
    expect(trace.of('client', 'unsubscribe').map(({ packet }) => packet.cmd === 'unsubscribe' && packet.unsubscriptions)).toEqual([
      ['old/+/+/+/data'],
    ]);
    for (const topic of ['old/t/s/d/data', 'new/t/s/d/data', 'old/t/s/d/data', 'veep/t/s/d/data']) {
      await device.publishAsync(topic, '2', { qos: 1 });
    }
    await until(async () => (await count(sql, 'messages')) === 3);
    const { rows } = await sql.query<{ topic: string }>('SELECT topic FROM messages ORDER BY message_id');
    expect(rows.map(({ topic }) => topic)).toEqual(['old/t/s/d/data', 'new/t/s/d/data', 'veep/t/s/d/data']);
    expect(delivered(trace)).toHaveLength(3);
    expect(await count(sql, 'rejected_messages')).toBe(0);
    await device.endAsync();
    expect(await changed.stop()).toBe(0);
  });
});

describe('a second bridge with the same client id', () => {
  it.each(['5', '3.1.1'])(
    'replaces the first, which ends with exit code 76 instead of a fight over the session (MQTT %s)',
    async (version) => {
      const broker = await startTestBroker();
      // Mosquitto 2.0 does not tell the first one why its connection ends; the database does.
      const { app: first, env, sql } = await startBridge(broker.url, { MQTT_CLIENT_ID: 'the-same', MQTT_PROTOCOL_VERSION: version });
      const second = await startApp('ingest-bridge', env);
      expect((await first.exited).code).toBe(76);
      expect(JSON.stringify(first.logs)).toContain('MQTT_CLIENT_ID');

      await second.waitForReady();
      const device = await publisher(broker.url);
      await Promise.all(Array.from({ length: 100 }, (_, i) => device.publishAsync(TOPIC, `${i}`, { qos: 1 })));
      await until(async () => (await count(sql, 'messages')) === 100);
      await device.endAsync();
      expect(await second.stop()).toBe(0);
    },
  );
});

describe('TLS', () => {
  it('connects to a broker that the right authority vouches for, with a client certificate where one is asked for', async () => {
    const [right, wrong] = [TestAuthority.make(), TestAuthority.make()];
    const server = right.issue('broker');
    const client = right.issue('bridge');
    const ofAnother = wrong.issue('bridge');
    const [port, strictPort] = [await freePort(), await freePort()];
    const listener = (at: number, ...lines: string[]) => [`listener ${at} 127.0.0.1`, `cafile ${right.caFile}`, `certfile ${server.cert}`, `keyfile ${server.key}`, ...lines]; // prettier-ignore
    await startTestBroker({ configLines: [...listener(port), ...listener(strictPort, 'require_certificate true')] });
    const tls = `mqtts://127.0.0.1:${port}`;
    const strict = `mqtts://127.0.0.1:${strictPort}`;
    const withCertificate = ({ cert, key }: { cert: string; key: string }) => ({ MQTT_CA_FILE: right.caFile, MQTT_CERT_FILE: cert, MQTT_KEY_FILE: key }); // prettier-ignore

    const accepted = await Promise.all([launch(tls, { MQTT_CA_FILE: right.caFile }), launch(strict, withCertificate(client))]);
    for (const app of accepted) await app.waitForReady();
    for (const app of accepted) expect(await app.stop()).toBe(0);

    const refused = await Promise.all([
      launch(tls, { MQTT_CA_FILE: wrong.caFile }),
      launch(strict, { MQTT_CA_FILE: right.caFile }),
      launch(strict, withCertificate(ofAnother)),
    ]);
    await brokerProblem(refused[0], /certificate/);
    await brokerProblem(refused[1], /certificate|alert|closed|lost|reset/i);
    await brokerProblem(refused[2], /certificate|alert|closed|lost|reset/i);
    for (const app of refused) expect(await isReady(app)).toBe(false);
    for (const app of refused) expect(await app.stop()).toBe(0);
  });
});

describe('MQTT 3.1.1', () => {
  it('stores 2,000 messages once through a window of 20', async () => {
    const broker = await startTestBroker({ configLines: ['max_inflight_messages 20'] });
    const { app, sql } = await startBridge(broker.url, { MQTT_PROTOCOL_VERSION: '3.1.1' });
    const device = await publisher(broker.url);
    const payloads = Array.from({ length: 2_000 }, (_, i) => `${i}`);
    await Promise.all(payloads.map((payload) => device.publishAsync(TOPIC, payload, { qos: 1 })));
    await until(async () => (await count(sql, 'messages')) >= 2_000);
    const { rows } = await sql.query<{ payload: Buffer }>('SELECT payload FROM messages ORDER BY message_id');
    expect(rows.map(({ payload }) => payload.toString())).toEqual(payloads);
    await device.endAsync();
    expect(await app.stop()).toBe(0);
  });
});

describe('a retained message', () => {
  const throughReconnects = async (version: string) => {
    const broker = await startTestBroker();
    const trace = await PacketTrace.start(broker.port);
    const device = await publisher(broker.url);
    await device.publishAsync(TOPIC, '{"retained":true}', { qos: 1, retain: true });
    await device.publishAsync('veep/t', 'no telemetry, but retained', { qos: 1, retain: true });
    await device.publishAsync('veep/t/s/d/data/more', 'nor this', { qos: 1, retain: true });
    const bridge = await startBridge(trace.url, { MQTT_PROTOCOL_VERSION: version });
    let { app } = bridge;
    await until(async () => (await count(bridge.sql, 'messages')) === 1);
    for (let i = 1; i <= 8; i++) {
      trace.cut();
      await until(() => trace.of('broker', 'connack').length === 1 + i);
    }
    for (let i = 1; i <= 2; i++) {
      expect(await app.stop()).toBe(0);
      // Once the session is gone as well: then the subscription is new, and the broker sends the message again on MQTT 5 too.
      if (i === 2) await (await connectAsync(broker.url, { clientId: 'ingest-bridge-1', protocolVersion: 5, clean: true })).endAsync();
      app = await startApp('ingest-bridge', bridge.env);
      await app.waitForReady();
    }
    // Behind whatever was sent again. The same bytes, published anew, are another message.
    await device.publishAsync(TOPIC, '{"retained":true}', { qos: 1 });
    await until(async () => (await count(bridge.sql, 'messages')) === 2);
    const { rows } = await bridge.sql.query('SELECT retained FROM messages ORDER BY message_id');
    expect(rows).toEqual([{ retained: true }, { retained: false }]);
    expect(await count(bridge.sql, 'rejected_messages')).toBe(0);
    // It did come again: with a subscription that is new to the broker, and on 3.1.1 with every one that is made.
    expect(delivered(trace, ({ retain, dup }) => retain && !dup)).toHaveLength(version === '5' ? 2 : 3);
    await device.endAsync();
    expect(await app.stop()).toBe(0);
  };

  it('is stored once, and flagged, through ten reconnects and restarts, on MQTT 5 and on 3.1.1', async () => {
    await Promise.all(['5', '3.1.1'].map(throughReconnects));
  });
});

describe('a flood of QoS 0 while the database is away', () => {
  it('is dropped beyond a bound, and counted; QoS 1 is stored to the last message', async () => {
    const WINDOW = 100;
    const broker = await startTestBroker();
    const { app, sql } = await startBridge(broker.url, { MAX_UNACKNOWLEDGED: String(WINDOW) });
    await sql.query('BEGIN; LOCK TABLE batches IN ACCESS EXCLUSIVE MODE');
    const device = await publisher(broker.url);
    const flood = Array.from({ length: 5_000 }, (_, i) => device.publishAsync(TOPIC, `{"flood":${i}}`, { qos: 0 }));
    await Promise.all(flood);
    await Promise.all(Array.from({ length: 80 }, (_, i) => device.publishAsync(TOPIC, `{"sure":${i}}`, { qos: 1 })));
    await until(async () => (await metric(app, 'mqtt_messages_unacknowledged')) === 80);
    const queued = await metric(app, 'ingest_queue_messages');
    expect(queued).toBeGreaterThanOrEqual(2 * WINDOW);
    expect(queued).toBeLessThanOrEqual(2 * WINDOW + 80);
    const dropped = await metric(app, 'mqtt_messages_processed_total{result="dropped"}');
    expect(dropped).toBeGreaterThan(3_000);

    await sql.query('COMMIT');
    await until(async () => (await metric(app, 'ingest_in_flight_messages')) === 0);
    const { rows } = await sql.query<{ qos: number; count: string }>('SELECT qos, count(*) FROM messages GROUP BY 1 ORDER BY 1');
    const stored = Object.fromEntries(rows.map((row) => [row.qos, Number(row.count)]));
    expect(stored[1]).toBe(80);
    expect(stored[0]! + 80 + dropped).toBe(await metric(app, 'mqtt_messages_received_total'));
    await device.endAsync();
    expect(await app.stop()).toBe(0);
  });
});
