import { hash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, portInUse, startEmbeddedPostgres } from '@tallystick/embedded';
import { createEmptyDatabase, type RunningApp, startApp, until } from '@tallystick/testing';
import { connectAsync } from 'mqtt';
import pg from 'pg';

const PAYLOAD = '{"deviceId":"METER_0001","kwh":15.7}';

async function environment(): Promise<Record<string, string>> {
  const [api, bridge, watcher, postgres, broker] = await Promise.all([freePort(), freePort(), freePort(), freePort(), freePort()]);
  const dataDir = join(mkdtempSync(join(tmpdir(), 'up-')), 'data');
  // PORT is where startApp looks for life: the API's.
  return {
    PORT: `${api}`,
    API_PORT: `${api}`,
    INGEST_BRIDGE_PORT: `${bridge}`,
    BROKER_WATCHER_PORT: `${watcher}`,
    EMBEDDED_POSTGRES_PORT: `${postgres}`,
    EMBEDDED_BROKER_PORT: `${broker}`,
    TALLYSTICK_DATA_DIR: dataDir,
  };
}

async function up(env: Record<string, string>): Promise<RunningApp> {
  const app = await startApp('cli', env, { args: ['up'], startTimeoutMs: 60_000, stopTimeoutMs: 30_000 });
  await until(() => output(app).includes('Tallystick is ready'), { timeoutMs: 60_000 });
  return app;
}

const output = (app: RunningApp) => app.logs.map((line) => String(line.message)).join('\n');

async function publish(env: Record<string, string>, clientId?: string): Promise<void> {
  const device = await connectAsync(`mqtt://127.0.0.1:${env.EMBEDDED_BROKER_PORT}`, { clientId });
  await device.publishAsync('veep/factory1/line1/METER_0001/data', PAYLOAD, { qos: 1 });
  await device.endAsync();
}

/** A new key, by `tallystick keys create` on the data of `up`. */
async function newKey(env: Record<string, string>): Promise<string> {
  const app = await startApp('cli', env, { args: ['keys', 'create', '--label', 'spec'] });
  expect((await app.exited).code).toBe(0);
  return /tly_\S+/.exec(output(app))![0];
}

async function items<T>(app: RunningApp, path: string, key: string): Promise<T[]> {
  const response = await fetch(app.url + path, { headers: { Authorization: `Bearer ${key}` } });
  return ((await response.json()) as { items: T[] }).items;
}

function messages(app: RunningApp, key: string): Promise<{ messageId: string; messageHash: string }[]> {
  return items(app, '/api/v1/messages?deviceId=METER_0001', key);
}

/** What must be free again once `up` has ended, however it ended. */
async function untilPortsAreFree(env: Record<string, string>): Promise<void> {
  const ports = ['API_PORT', 'INGEST_BRIDGE_PORT', 'BROKER_WATCHER_PORT', 'EMBEDDED_POSTGRES_PORT', 'EMBEDDED_BROKER_PORT'].map((name) =>
    Number(env[name]),
  );
  await until(async () => !(await Promise.all(ports.map(portInUse))).includes(true), { timeoutMs: 20_000 });
}

describe('tallystick up', () => {
  it('stores a first message within 2 s, stops on SIGINT, and finds the data again', async () => {
    const env = await environment();
    const first = await up(env);
    const key = await newKey(env);
    await publish(env);
    const [stored] = await until(async () => (await messages(first, key)).length > 0 && messages(first, key), { timeoutMs: 2_000 });
    expect(stored!.messageHash).toBe(hash('sha256', PAYLOAD, 'hex'));
    process.kill(first.pid, 'SIGINT');
    expect(await first.exited).toEqual({ code: 0, signal: null });
    await untilPortsAreFree(env);

    const second = await up(env);
    expect(await messages(second, key)).toEqual([expect.objectContaining({ messageId: stored!.messageId })]);
    expect(await items(second, '/api/v1/batches', key)).toEqual([
      expect.objectContaining({ status: 'complete', closeReason: 'shutdown', messageCount: 1 }),
    ]);
    expect(await second.stop()).toBe(0);
  });

  it('watches its broker: what a client did is history, under an id of the watcher’s own', async () => {
    const env = await environment();
    // Meant for the bridge; a watcher under the same id would throw it out.
    const app = await up({ ...env, MQTT_CLIENT_ID: 'my-bridge' });
    expect((await fetch(`http://127.0.0.1:${env.BROKER_WATCHER_PORT}/readyz`)).status).toBe(200);
    await publish(env, 'METER_0001');
    const sql = new pg.Client({ connectionString: /postgres:\/\/\S+/.exec(output(app))![0] });
    await sql.connect();
    const seen = async () => {
      const { rows } = await sql.query<{ client: string; end_reason: string | null }>(
        `SELECT client, end_reason FROM sessions ORDER BY client`,
      );
      return rows.some(({ end_reason }) => end_reason !== null) && rows;
    };
    expect(await until(seen)).toEqual([
      { client: 'METER_0001', end_reason: 'clean_disconnect' },
      // It has not connected before somebody watched.
      { client: 'my-bridge', end_reason: null },
      { client: 'tallystick-watcher', end_reason: null },
    ]);
    const metrics = async () => (await sql.query(`SELECT FROM broker_metrics WHERE metric = 'clients/connected'`)).rowCount! > 0;
    await until(metrics, { timeoutMs: 20_000 });
    await sql.end();
    expect(await app.stop()).toBe(0);
    await untilPortsAreFree(env);
  });

  it('goes on storing messages when the watcher cannot run, and says so', async () => {
    const env = await environment();
    const app = await up(env);
    const database = /postgres:\/\/\S+/.exec(output(app))![0];
    const other = await startApp('broker-watcher', {
      ...{ DATABASE_URL: database, MQTT_URL: `mqtt://127.0.0.1:${env.EMBEDDED_BROKER_PORT}`, MQTT_CLIENT_ID: 'other-watcher' },
      DATABASE_ALLOW_DATA_LOSS: 'true',
    });
    await other.waitForReady();
    // It takes the place of the watcher, which finds out with the next line of the broker's log.
    await publish(env, 'METER_0001');
    await until(() => output(app).includes('broker-watcher cannot run (exit code 76); everything else goes on'), { timeoutMs: 20_000 });
    expect(output(app)).toContain('give each watcher a name');
    await publish(env, 'METER_0002');
    const key = await newKey(env);
    await until(async () => (await messages(app, key)).length === 2);
    expect(await other.stop()).toBe(0);
    expect(await app.stop()).toBe(0);
    await untilPortsAreFree(env);
  });

  it('leaves no app running when it is killed, and starts again on the same data', async () => {
    const env = await environment();
    const first = await up(env);
    const key = await newKey(env);
    await publish(env);
    await until(async () => (await messages(first, key)).length > 0);
    await first.kill();
    // The apps notice that nobody supervises them, store what they hold, and end by themselves.
    const appPorts = [Number(env.INGEST_BRIDGE_PORT), Number(env.BROKER_WATCHER_PORT), Number(env.API_PORT)];
    await until(async () => !(await Promise.all(appPorts.map(portInUse))).includes(true), { timeoutMs: 20_000 });
    const second = await up(env);
    expect(await messages(second, key)).toHaveLength(1);
    expect(await second.stop()).toBe(0);
    await untilPortsAreFree(env);
  });

  it('ends, and leaves nothing running, when a part of it cannot start in a folder that it used before', async () => {
    const env = await environment();
    expect(await (await up(env)).stop()).toBe(0);
    const intruder = createServer();
    await new Promise<void>((resolve) => intruder.listen(Number(env.EMBEDDED_POSTGRES_PORT), '127.0.0.1', resolve));
    const blocked = await startApp('cli', env, { args: ['up'] });
    expect((await blocked.exited).code).toBe(69);
    expect(output(blocked)).toContain('EMBEDDED_POSTGRES_PORT');
    await new Promise((resolve) => intruder.close(resolve));
    await untilPortsAreFree(env);

    writeFileSync(join(env.TALLYSTICK_DATA_DIR!, 'postgres', 'PG_VERSION'), '12\n');
    const outdated = await startApp('cli', env, { args: ['up'] });
    expect((await outdated.exited).code).toBe(69);
    expect(output(outdated)).toMatch(/written by PostgreSQL 12.*\n[^]*pg_dump/);
    await untilPortsAreFree(env);
  });

  it('lets one of two at once have the folder, and tells the other who has it', async () => {
    const env = await environment();
    const others = await environment();
    const both = await Promise.all([
      startApp('cli', env, { args: ['up'], startTimeoutMs: 60_000 }),
      startApp('cli', { ...others, TALLYSTICK_DATA_DIR: env.TALLYSTICK_DATA_DIR! }, { args: ['up'], startTimeoutMs: 60_000 }),
    ]);
    await until(() => both.some((app) => output(app).includes('already runs on')) && both.some((app) => output(app).includes('is ready')), {
      timeoutMs: 60_000,
    });
    const [winner, loser] = output(both[0]).includes('is ready') ? both : [both[1], both[0]];
    expect((await loser.exited).code).toBe(69);
    expect(output(loser)).toContain(`process ${winner.pid}`);
    expect(await winner.stop()).toBe(0);
  });

  it('takes the database from a file, and says so when it listens for everybody', async () => {
    const env: Record<string, string> = await environment();
    const database = await createEmptyDatabase();
    env.DATABASE_URL_FILE = join(mkdtempSync(join(tmpdir(), 'secret-')), 'url');
    writeFileSync(env.DATABASE_URL_FILE, `${database.url}\n`);
    const settings = { DATABASE_ALLOW_DATA_LOSS: 'true', DATABASE_ALLOW_OWNER: 'true', HOST: '0.0.0.0', ALLOW_PLAIN_HTTP: 'true' };
    const app = await up({ ...env, ...settings });
    expect(output(app)).toContain('without TLS');
    expect(output(app)).not.toContain(new URL(database.url).password);
    expect(await app.stop()).toBe(0);
  });

  it('lists every problem of every configuration at once, exits 78 and starts nothing', async () => {
    const env: Record<string, string> = {
      ...(await environment()),
      BATCH_SIZE: '0',
      LOG_LEVEL: 'loud',
      EMBEDDED_BROKER_PORT: 'x',
      DATABASE_POOL_SIZE: '-1',
    };
    const app = await startApp('cli', env, { args: ['up'] });
    expect((await app.exited).code).toBe(78);
    for (const name of ['BATCH_SIZE', 'LOG_LEVEL', 'EMBEDDED_BROKER_PORT', 'DATABASE_POOL_SIZE']) {
      expect(output(app).match(new RegExp(`  ${name}: `, 'g'))).toHaveLength(1);
    }
    expect(existsSync(env.TALLYSTICK_DATA_DIR!)).toBe(false);
  });

  it('names every port that is in use, with the setting that changes it, and starts nothing', async () => {
    const env = await environment();
    const [api, broker] = [createServer(), createServer()];
    await Promise.all([
      new Promise<void>((resolve) => api.listen(Number(env.API_PORT), '127.0.0.1', resolve)),
      new Promise<void>((resolve) => broker.listen(Number(env.EMBEDDED_BROKER_PORT), '127.0.0.1', resolve)),
    ]);
    // Life is looked for on a port that nobody has.
    const app = await startApp('cli', { ...env, PORT: `${await freePort()}` }, { args: ['up'] });
    expect((await app.exited).code).toBe(69);
    expect(output(app)).toMatch(new RegExp(`${env.API_PORT}, for the API.*API_PORT=`));
    expect(output(app)).toMatch(new RegExp(`${env.EMBEDDED_BROKER_PORT}, for the broker.*EMBEDDED_BROKER_PORT=`));
    expect(existsSync(env.TALLYSTICK_DATA_DIR!)).toBe(false);
    api.close();
    broker.close();
  });
});

describe('tallystick', () => {
  it('exits 64 for what it does not know, 0 for help', async () => {
    const [wrong, help] = await Promise.all([startApp('cli', {}, { args: ['sing'] }), startApp('cli', {}, { args: ['up', '--help'] })]);
    expect([(await wrong.exited).code, (await help.exited).code]).toEqual([64, 0]);
    expect(output(help)).toContain('DATABASE_URL or MQTT_URL');
  });
});

describe('tallystick migrate', () => {
  it('says what to do when the database cannot be reached, and exits 69', async () => {
    const app = await startApp('cli', { DATABASE_URL: `postgres://x@127.0.0.1:${await freePort()}/x` }, { args: ['migrate'] });
    expect((await app.exited).code).toBe(69);
    expect(output(app)).toMatch(/cannot be reached.*DATABASE_URL/);
  });

  it('says how the roles of the services are made when its login may not make them, and exits 69', async () => {
    const postgres = await startEmbeddedPostgres({
      dataDir: join(mkdtempSync(join(tmpdir(), 'modest-')), 'postgres'),
      port: 0,
      durable: false,
    });
    const admin = new pg.Client({ connectionString: postgres.url });
    await admin.connect();
    await admin.query(`CREATE ROLE modest LOGIN PASSWORD 'x'`);
    await admin.query(`CREATE DATABASE modest OWNER modest`);
    const migrateAs = () =>
      startApp('cli', { DATABASE_URL: `postgres://modest:x@127.0.0.1:${postgres.port}/modest` }, { args: ['migrate'] });
    const refused = await migrateAs();
    expect((await refused.exited).code).toBe(69);
    expect(output(refused)).toContain(
      'role tallystick_ingest is missing and modest may not make it. Let an administrator run docker/postgres/roles.sql',
    );
    await admin.query(readFileSync('docker/postgres/roles.sql', 'utf8'));
    expect((await (await migrateAs()).exited).code).toBe(0);
    await admin.end();
    await postgres.stop();
  });

  it('lists what is wrong with its configuration and exits 78', async () => {
    const app = await startApp('cli', { DATABASE_URL: 'mysql://x' }, { args: ['migrate'] });
    expect((await app.exited).code).toBe(78);
    expect(output(app)).toContain('DATABASE_URL: must be a URL');
  });
});
