import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createTestDatabase, onCleanUp, startApp, until } from '@tallystick/testing';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import pg from 'pg';
import { ComposeBroker } from './compose-broker.js';
import { composeFile } from './compose-file.js';

const WATCHER = 'tallystick-watcher';
const BRIDGE = 'ingest-bridge';
const SIMULATOR = 'simulator';
const METER = 'factory1/line1/METER_0001';
const OTHER_METER = 'factory1/line1/METER_0002';
const NOT_AUTHORIZED = 135;
const SECRET_OF: Record<string, string> = {
  [WATCHER]: 'mqtt_broker_watcher',
  [BRIDGE]: 'mqtt_ingest_bridge',
  [SIMULATOR]: 'mqtt_simulator',
};

const secrets = mkdtempSync(join(tmpdir(), 'secrets-'));
onCleanUp(() => Promise.resolve(rmSync(secrets, { recursive: true })));

const isService = (user: string) => user in SECRET_OF;
const passwordOf = (user: string) => (isService(user) ? readFileSync(join(secrets, SECRET_OF[user]!), 'utf8') : `password of ${user}`);
const passwordsOf = (...users: string[]) => Object.fromEntries(users.map((user) => [user, passwordOf(user)]));

/** Each where it belongs: services at their listener, devices at the published one. */
function connectTo(broker: ComposeBroker, username: string | undefined, options: IClientOptions = {}): Promise<MqttClient> {
  const login = username === undefined ? {} : { username, password: passwordOf(username) };
  const url = username !== undefined && isService(username) && username !== SIMULATOR ? broker.servicesUrl : broker.devicesUrl;
  return connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0, ...login, ...options });
}

const refused = (connecting: Promise<unknown>) => connecting.then(() => 'connected').catch((error: { code: number }) => error.code);

/** What the broker makes of a publish: the reason code of its PUBACK. */
function reasonOf(client: MqttClient, topic: string): Promise<number> {
  return client.publishAsync(topic, '{"kwh":1}', { qos: 1 }).then(
    () => 0,
    (error: { code: number }) => error.code,
  );
}

/** Topics of what comes by a subscription; a broker with an ACL grants every subscription and filters what it delivers. */
async function topicsHeard(client: MqttClient, filters: string[]): Promise<Set<string>> {
  const topics = new Set<string>();
  client.on('message', (topic) => topics.add(topic));
  await client.subscribeAsync(filters, { qos: 1 });
  return topics;
}

describe('the broker of docker/mosquitto', () => {
  let broker: ComposeBroker;
  beforeAll(async () => {
    expect(spawnSync('sh', ['docker/make-secrets.sh', secrets]).status).toBe(0);
    // The last is a user of the services: his line must not give him a second password.
    const users = { ...passwordsOf(METER, OTHER_METER), [BRIDGE]: 'a second password' };
    broker = await ComposeBroker.start(secrets, users, { awaitBridge: false });
  });

  const connect = (username: string | undefined, options?: IClientOptions) => connectTo(broker, username, options);

  it('refuses who has no name, a wrong password, or a name that is not in the file', async () => {
    expect(await refused(connect(undefined))).toBe(NOT_AUTHORIZED);
    expect(await refused(connect(METER, { password: 'a guess' }))).toBe(NOT_AUTHORIZED);
    expect(await refused(connect('stranger'))).toBe(NOT_AUTHORIZED);
    expect(await refused(connect(BRIDGE, { password: 'a second password' }))).toBe(NOT_AUTHORIZED);
  });

  it('lets the watcher read values and log, the bridge read telemetry, a device write its topic, and nobody more', async () => {
    const [watcher, bridge, meter] = [await connect(WATCHER), await connect(BRIDGE), await connect(METER)];
    const everything = ['#', '$SYS/#', 'veep/#'];
    const heard = {
      watcher: await topicsHeard(watcher, everything),
      bridge: await topicsHeard(bridge, everything),
      meter: await topicsHeard(meter, [...everything, `veep/${METER}/data`]),
    };
    const other = await connect(OTHER_METER);

    expect(await reasonOf(meter, `veep/${METER}/data`)).toBe(0);
    expect(await reasonOf(other, `veep/${OTHER_METER}/data`)).toBe(0);
    const forbidden = [
      `veep/${OTHER_METER}/data`,
      `veep/${METER}/data/more`,
      `veep/${METER}`,
      'veep/x/y/z/data',
      '$SYS/broker/log/N',
      `$SYS/broker/connection/x/state`,
      'x',
    ];
    for (const topic of forbidden) expect([topic, await reasonOf(meter, topic)]).toEqual([topic, NOT_AUTHORIZED]);
    for (const user of [watcher, bridge]) {
      const own = user === watcher ? WATCHER : BRIDGE;
      for (const topic of [`veep/${METER}/data`, `veep/${own}/data`, '$SYS/broker/log/N', 'x']) {
        expect([topic, await reasonOf(user, topic)]).toEqual([topic, NOT_AUTHORIZED]);
      }
    }

    await until(() => heard.watcher.has('$SYS/broker/uptime') && heard.watcher.has('$SYS/broker/log/M/subscribe'), { timeoutMs: 20_000 });
    await until(() => heard.watcher.has('$SYS/broker/log/N') && heard.bridge.size >= 2);
    expect([...heard.watcher].filter((topic) => !topic.startsWith('$SYS/'))).toEqual([]);
    const dropped = '$SYS/broker/publish/messages/dropped';
    const toBridge = [...heard.bridge].filter((topic) => topic !== dropped).sort();
    expect(toBridge).toEqual([`veep/${METER}/data`, `veep/${OTHER_METER}/data`]);
    expect([...heard.meter]).toEqual([]);
    await Promise.all([watcher, bridge, meter, other].map((client) => client.endAsync()));
  });

  it('lets the simulator write what devices write, and read nothing', async () => {
    const simulator = await connect(SIMULATOR);
    const heard = await topicsHeard(simulator, ['#', '$SYS/#']);
    expect(await reasonOf(simulator, `veep/${METER}/data`)).toBe(0);
    for (const topic of ['veep/simulator/data', '$SYS/broker/log/N', 'x'])
      expect([topic, await reasonOf(simulator, topic)]).toEqual([topic, NOT_AUTHORIZED]);
    expect([...heard]).toEqual([]);
    await simulator.endAsync();
  });

  it('lets no device take the session of a service by its client id', async () => {
    // Two bridges as they are: one user, a client id each.
    const ids = ['tallystick-1', 'tallystick-2'];
    const bridges = await Promise.all(ids.map((clientId) => connect(BRIDGE, { clientId })));
    const watcher = await connect(WATCHER, { clientId: WATCHER });
    const heard = await topicsHeard(watcher, ['$SYS/broker/log/M/subscribe']);
    const thieves = await Promise.all([...ids, WATCHER].map((clientId) => connect(METER, { clientId })));
    // The three are all the same client to the broker, so the last one is left.
    expect(await until(() => thieves.filter(({ connected }) => connected).length === 1)).toBe(true);
    await thieves.find(({ connected }) => connected)!.subscribeAsync('x');
    await until(() => heard.size > 0);
    for (const service of [...bridges, watcher]) expect(service.connected).toBe(true);
    await Promise.all([...bridges, watcher, ...thieves].map((client) => client.endAsync()));
  });

  it('passes its health check while it answers, and only then', async () => {
    const { test } = composeFile().services['mosquitto']!.healthcheck!;
    await until(() => broker.check(test) === 0);
    const other = await ComposeBroker.start(secrets, {});
    await until(() => other.check(test) === 0);
    expect(await other.stop()).toBe(0);
    expect(other.check(test)).not.toBe(0);
  });

  it('keeps passwords out of its log and of the list of processes', () => {
    const passwords = [BRIDGE, WATCHER, SIMULATOR].map(passwordOf);
    for (const text of [broker.log, broker.commandLine(), composeFile().services['mosquitto']!.healthcheck!.test.join(' ')])
      expect(passwords.filter((password) => text.includes(password))).toEqual([]);
    expect(broker.commandLine()).toMatch(/^mosquitto -c /);
  });

  it('takes new devices, and lets old ones go, without ending a connection of another', async () => {
    const bridge = await connect(BRIDGE);
    const [added, removed] = ['factory1/line1/METER_0003', OTHER_METER];
    expect(await refused(connect(added))).toBe(NOT_AUTHORIZED);
    broker.reload(passwordsOf(METER, added));
    const device = await until(() => connect(added));
    expect(await refused(connect(removed))).toBe(NOT_AUTHORIZED);
    expect(bridge.connected).toBe(true);
    await Promise.all([bridge, device].map((client) => client.endAsync()));
  });

  it.each(['', 'with:colon', 'two words'])('does not start with the secret %j', async (secret) => {
    const broken = mkdtempSync(join(tmpdir(), 'broken-'));
    expect(spawnSync('sh', ['docker/make-secrets.sh', broken]).status).toBe(0);
    rmSync(join(broken, 'mqtt_broker_watcher'));
    writeFileSync(join(broken, 'mqtt_broker_watcher'), secret);
    const started = await ComposeBroker.start(broken, {});
    expect(started.exitCode).toBe(78);
    expect(started.log).toContain("the password of the broker's user tallystick-watcher");
    rmSync(broken, { recursive: true });
  });

  it('serves the watcher and the bridge', async () => {
    const database = await createTestDatabase();
    const app = (name: 'broker-watcher' | 'ingest-bridge', user: string) =>
      startApp(name, {
        DATABASE_URL: database.url,
        DATABASE_ALLOW_DATA_LOSS: 'true',
        MQTT_URL: broker.servicesUrl,
        MQTT_CLIENT_ID: user,
        MQTT_USERNAME: user,
        MQTT_PASSWORD: passwordOf(user),
      });
    const apps = await Promise.all([app('broker-watcher', WATCHER), app('ingest-bridge', BRIDGE)]);
    for (const started of apps) await started.waitForReady();
    const meter = await connect(METER, { protocolVersion: 4 });
    expect(await reasonOf(meter, `veep/${METER}/data`)).toBe(0);
    await meter.endAsync();

    const sql = new pg.Client({ connectionString: database.url });
    await sql.connect();
    const rows = async (text: string) => (await sql.query<Record<string, unknown>>(text)).rows;
    const session = `SELECT client, username, end_reason, protocol_version FROM sessions WHERE client = '${METER}' AND end_ts IS NOT NULL`;
    expect(await until(async () => (await rows(session)).length > 0 && (await rows(session)))).toEqual([
      { client: METER, username: METER, end_reason: 'clean_disconnect', protocol_version: 4 },
    ]);
    const stored = `SELECT tenant_id, site_id, device_id FROM messages`;
    expect(await until(async () => (await rows(stored)).length > 0 && (await rows(stored)))).toEqual([
      { tenant_id: 'factory1', site_id: 'line1', device_id: 'METER_0001' },
    ]);
    await until(async () => (await rows(`SELECT FROM broker_metrics LIMIT 1`)).length === 1, { timeoutMs: 20_000 });
    expect(await rows(`SELECT client FROM sessions WHERE end_ts IS NULL AND client = '${WATCHER}'`)).toHaveLength(1);
    await sql.end();
    for (const started of apps) expect(await started.stop()).toBe(0);
  });
});

describe('the gate of docker/mosquitto', () => {
  const PATIENCE_S = 2;
  const TELEMETRY = 'veep/+/+/+/data';
  const SHARED = `$share/tallystick/${TELEMETRY}`;
  const { test: healthCheck } = composeFile().services['mosquitto']!.healthcheck!;

  const startBroker = (patienceS?: number) =>
    ComposeBroker.start(secrets, passwordsOf(METER), patienceS === undefined ? {} : { patienceS });
  const bridgeTo = (broker: ComposeBroker, options: IClientOptions = {}) =>
    until(() => connectTo(broker, BRIDGE, { clientId: 'tallystick-1', clean: false, ...options }));

  it('lets devices in when a bridge of a group has subscribed, and not before', async () => {
    const broker = await startBroker(PATIENCE_S);
    const expectShut = async () => {
      for (const user of [METER, SIMULATOR]) expect([user, await refused(connectTo(broker, user))]).toEqual([user, NOT_AUTHORIZED]);
      expect(broker.check(healthCheck)).toBe(0);
    };
    await until(() => broker.check(healthCheck) === 0);
    await expectShut();
    const watcher = await connectTo(broker, WATCHER);
    const bridge = await bridgeTo(broker);
    await expectShut();
    broker.reload(passwordsOf(METER, OTHER_METER));
    await expectShut();
    expect([bridge.connected, watcher.connected]).toEqual([true, true]);
    // What a broker saves with its session, so that nobody needs to wait for it.
    await bridge.subscribeAsync(TELEMETRY, { qos: 1 });
    await until(() => broker.log.includes('Devices still wait: no bridge has subscribed yet'));
    await expectShut();
    expect(broker.log).not.toContain('let in now');

    // Not in the moment between two listeners: that is the next test's.
    await until(() => broker.gate.pid);
    await sleep(200);
    await bridge.subscribeAsync(SHARED, { qos: 1 });
    const subscribedAtMs = performance.now();
    const meter = await until(() => connectTo(broker, METER), { timeoutMs: 20_000 });
    console.log(`devices are let in ${(performance.now() - subscribedAtMs).toFixed(0)} ms after a bridge has subscribed`);
    expect(broker.log).toContain('A bridge has subscribed: devices are let in now.');
    const other = await connectTo(broker, OTHER_METER);
    broker.reload();
    expect(await refused(connectTo(broker, BRIDGE, broker.gate))).toBe(NOT_AUTHORIZED);
    await until(() => broker.gate.pid === 0);
    expect(broker.check(healthCheck)).toBe(0);
    for (const client of [watcher, bridge, meter, other]) expect(client.connected).toBe(true);
    await Promise.all([watcher, bridge, meter, other].map((client) => client.endAsync()));

    // The session is there again, and not its shared subscription.
    expect(await broker.stop()).toBe(0);
    await broker.startAgain();
    const resumed = await bridgeTo(broker);
    await expectShut();
    const stoppedAtMs = performance.now();
    expect(await broker.stop()).toBe(0);
    expect(performance.now() - stoppedAtMs).toBeLessThan(5_000);
    resumed.end(true);
  }, 60_000);

  it('does not stay shut when it misses a subscription', async () => {
    const broker = await startBroker();
    const bridge = await bridgeTo(broker);
    const pid = await until(() => broker.gate.pid);
    process.kill(pid, 'SIGSTOP');
    await bridge.subscribeAsync(SHARED, { qos: 1 });
    process.kill(pid, 'SIGKILL');
    // The broker counts every 10 s.
    const meter = await until(() => connectTo(broker, METER), { timeoutMs: 25_000, intervalMs: 200 });
    await Promise.all([bridge, meter].map((client) => client.endAsync()));
  }, 40_000);

  it('listens as a user who reads of subscriptions, and may do nothing else', async () => {
    const broker = await startBroker();
    await bridgeTo(broker).then((bridge) => bridge.endAsync());
    const { username, password } = broker.gate;
    const gate = await connectTo(broker, BRIDGE, { username, password, clientId: 'another' });
    const watcher = await connectTo(broker, WATCHER);
    const heard = await topicsHeard(gate, ['#', '$SYS/#', 'veep/#']);
    const others = await topicsHeard(watcher, ['$SYS/#']);
    await refused(connectTo(broker, METER));
    await until(() => heard.size === 2 && others.has('$SYS/broker/uptime') && others.has('$SYS/broker/log/N'), { timeoutMs: 20_000 });
    expect([...heard].sort()).toEqual(['$SYS/broker/log/M/subscribe', '$SYS/broker/shared_subscriptions/count']);
    for (const topic of ['veep/gate/data', `veep/${METER}/data`, '$SYS/broker/log/M/subscribe', 'x'])
      expect([topic, await reasonOf(gate, topic)]).toEqual([topic, NOT_AUTHORIZED]);
    await Promise.all([gate, watcher].map((client) => client.endAsync()));
  }, 30_000);

  it('is not made by what is neither true nor false', () => {
    const text = readFileSync('docker/mosquitto/start.sh', 'utf8');
    const run = spawnSync('sh', ['-s'], { input: text, env: { AWAIT_BRIDGE: 'no' }, encoding: 'utf8' });
    expect([run.status, run.stderr]).toEqual([78, 'AWAIT_BRIDGE must be true or false\n']);
  });
});
