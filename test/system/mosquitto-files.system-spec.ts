import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findMosquitto, freePort, portInUse } from '@tallystick/embedded';
import { createTestDatabase, onCleanUp, startApp, until } from '@tallystick/testing';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import pg from 'pg';

const WATCHER = 'tallystick-watcher';
const BRIDGE = 'ingest-bridge-1';
const METER = 'factory1/line1/METER_0001';
const OTHER_METER = 'factory1/line1/METER_0002';
const NOBODY = 65534;
const NOT_AUTHORIZED = 135;

/** The files of docker/mosquitto as they are, but for paths and port. Root's Mosquitto becomes nobody, as in libs/embedded. */
async function startWithOurFiles(): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'mosquitto-files-'));
  const port = await freePort();
  const conf = readFileSync('docker/mosquitto/mosquitto.conf', 'utf8')
    .replaceAll('/mosquitto/config/', `${dir}/`)
    .replaceAll('/mosquitto/data/', `${dir}/data/`)
    .replace(/^listener 1883$/m, `listener ${port} 127.0.0.1`);
  writeFileSync(join(dir, 'mosquitto.conf'), conf);
  writeFileSync(join(dir, 'acl'), readFileSync('docker/mosquitto/acl'));
  mkdirSync(join(dir, 'data'));
  for (const [index, user] of [WATCHER, BRIDGE, METER, OTHER_METER].entries()) {
    const args = [...(index === 0 ? ['-c'] : []), '-b', join(dir, 'passwd'), user, passwordOf(user)];
    expect(spawnSync('mosquitto_passwd', args).status).toBe(0);
  }
  const isRoot = process.getuid?.() === 0;
  if (isRoot) letNobodyIn(dir);
  const account = isRoot ? { uid: NOBODY, gid: NOBODY } : {};
  const broker = spawn(findMosquitto()!, ['-c', join(dir, 'mosquitto.conf')], { ...account, stdio: 'ignore' });
  const exited = new Promise((resolve) => broker.once('exit', resolve));
  onCleanUp(async () => {
    broker.kill('SIGKILL');
    await exited;
    rmSync(dir, { recursive: true, force: true });
  });
  await until(() => portInUse(port));
  return `mqtt://127.0.0.1:${port}`;
}

function letNobodyIn(dir: string): void {
  for (const path of [dir, join(dir, 'data'), join(dir, 'passwd')]) chownSync(path, NOBODY, NOBODY);
  const { mode } = statSync(tmpdir());
  if ((mode & 0o001) === 0) chmodSync(tmpdir(), mode | 0o001);
}

const passwordOf = (user: string) => `password of ${user}`;

describe('the broker of docker/mosquitto', () => {
  let url: string;
  beforeAll(async () => void (url = await startWithOurFiles()));

  function connect(username: string | undefined, options: IClientOptions = {}): Promise<MqttClient> {
    const login = username === undefined ? {} : { username, password: passwordOf(username) };
    return connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0, ...login, ...options });
  }

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

  it('refuses who has no name, a wrong password, or a name that is not in the file', async () => {
    const refused = (connecting: Promise<unknown>) => connecting.then(() => 'connected').catch((error: { code: number }) => error.code);
    expect(await refused(connect(undefined))).toBe(NOT_AUTHORIZED);
    expect(await refused(connect(METER, { password: 'a guess' }))).toBe(NOT_AUTHORIZED);
    expect(await refused(connect('stranger'))).toBe(NOT_AUTHORIZED);
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

  it('lets nobody take the session of another by its client id', async () => {
    const watcher = await connect(WATCHER, { clientId: WATCHER });
    const thief = await connect(METER, { clientId: WATCHER });
    const heard = await topicsHeard(watcher, ['$SYS/broker/log/M/subscribe']);
    await thief.subscribeAsync('x');
    await until(() => heard.size > 0);
    expect(watcher.connected).toBe(true);
    await Promise.all([watcher, thief].map((client) => client.endAsync()));
  });

  it('serves the watcher and the bridge', async () => {
    const database = await createTestDatabase();
    const app = (name: 'broker-watcher' | 'ingest-bridge', user: string) =>
      startApp(name, {
        DATABASE_URL: database.url,
        DATABASE_ALLOW_DATA_LOSS: 'true',
        MQTT_URL: url,
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
