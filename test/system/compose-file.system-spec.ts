import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSettings, describeSettings, Group, loadConfig, MqttSettings } from '@tallystick/config';
import { onCleanUp } from '@tallystick/testing';
import { Ajv } from 'ajv';
import { ApiConfig } from '../../apps/api/src/api.config.js';
import { BrokerWatcherConfig } from '../../apps/broker-watcher/src/broker-watcher.config.js';
import { IngestBridgeConfig } from '../../apps/ingest-bridge/src/ingest-bridge.config.js';
import { composeFile, dockerTargets, environmentOf, variablesOf } from './compose-file.js';

class SimulateConfig {
  @Group(MqttSettings, { clientId: 'simulate' })
  readonly mqtt: MqttSettings;
}

const CONFIGS: Record<string, new () => object> = {
  'ingest-bridge': IngestBridgeConfig,
  'broker-watcher': BrokerWatcherConfig,
  api: ApiConfig,
  migrate: DatabaseSettings,
  cli: DatabaseSettings,
  simulator: SimulateConfig,
};
/** Those end by themselves. */
const ONE_SHOT = ['migrate', 'cli'];
/** It answers nobody; when it cannot go on it ends, and is started again. */
const WITHOUT_HEALTH = [...ONE_SHOT, 'simulator'];

const file = composeFile();
const services = Object.entries(file.services);
const named = (names: string[]) => services.filter(([name]) => names.includes(name));
const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };

function madeSecrets(): string {
  const dir = join(mkdtempSync(join(tmpdir(), 'secrets-')), 'secrets');
  onCleanUp(() => Promise.resolve(rmSync(join(dir, '..'), { recursive: true })));
  expect(spawnSync('sh', ['docker/make-secrets.sh', dir]).status).toBe(0);
  return dir;
}

const hasCompose = spawnSync('docker', ['compose', 'version']).status === 0;

describe('docker-compose.yml', () => {
  it('is what the Compose Specification describes', () => {
    const schema = JSON.parse(readFileSync('test/system/testdata/compose-spec.json', 'utf8')) as Record<string, unknown>;
    // It names draft 07 by an address that Ajv does not know it by.
    delete schema['$schema'];
    const validate = new Ajv({ strict: false, formats: { duration: /^(\d+(us|ms|s|m|h))+$/, subnet_ip_address: true } }).compile(schema);
    validate(file);
    expect(validate.errors).toBeNull();
  });

  (hasCompose ? it : it.skip)('is accepted by docker compose, with every profile', () => {
    const run = spawnSync('docker', ['compose', '--profile', '*', 'config', '--quiet'], { encoding: 'utf8' });
    expect([run.stderr, run.status]).toEqual(['', 0]);
  });

  it('publishes nothing beyond this machine, and neither the database nor the listener of the services', () => {
    const published = Object.fromEntries(services.filter(([, { ports }]) => ports).map(([name, { ports }]) => [name, ports]));
    expect(published).toEqual({
      mosquitto: ['127.0.0.1:1883:1883'],
      api: ['127.0.0.1:3000:3000'],
      prometheus: ['127.0.0.1:9090:9090'],
      grafana: ['127.0.0.1:3030:3000'],
    });
  });

  it('lets to the database only who uses it, and to the broker too', () => {
    const members = (network: string) => services.filter(([, { networks }]) => networks.includes(network)).map(([name]) => name);
    expect(members('database').sort()).toEqual(['api', 'broker-watcher', 'cli', 'ingest-bridge', 'migrate', 'postgres']);
    expect(members('broker').sort()).toEqual(['broker-watcher', 'ingest-bridge', 'mosquitto', 'simulator']);
    expect(members('devices')).toEqual(['mosquitto']);
    for (const network of ['database', 'broker', 'monitoring']) expect(file.networks[network]).toEqual({ internal: true });
  });

  it.each(services)('contains %s: rights, root file system, memory, processor, processes, log', (_, service) => {
    expect(service).toMatchObject({
      read_only: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
      logging: { options: { 'max-size': expect.any(String) as string } },
    });
    expect(service['mem_limit']).toMatch(/^\d+[mg]$/);
    expect(Number(service['cpus'])).toBeGreaterThan(0);
    expect(service['pids_limit']).toBeGreaterThan(0);
    // Such a service could not be scaled.
    expect(service).not.toHaveProperty('container_name');
    expect(service).not.toHaveProperty('privileged');
  });

  // When a container is started again, Docker mounts a tmpfs for root, with the mode of the folder below it (moby#20437). Images have a
  // /tmp for everybody; any other folder must name who writes there.
  it.each(services.filter(([, { user }]) => user))(
    'lets %s write into its temporary folders also when it is started again',
    (_, service) => {
      const [uid, gid] = service.user!.split(':');
      const others = service.tmpfs!.filter((mount) => !mount.startsWith('/tmp:'));
      expect(others.length).toBeGreaterThan(0);
      for (const mount of others) expect(mount.split(':')[1]!.split(',')).toEqual(expect.arrayContaining([`uid=${uid}`, `gid=${gid}`]));
    },
  );

  it.each(services)('starts %s again, asks after its health, and gives it the time to stop', (name, service) => {
    expect(service.restart).toBe(ONE_SHOT.includes(name) ? 'no' : 'unless-stopped');
    expect(service.healthcheck?.test[0]).toBe(WITHOUT_HEALTH.includes(name) ? undefined : 'CMD');
    expect(Number.parseInt(String(service['stop_grace_period']), 10)).toBeGreaterThan(10);
  });

  it('waits for what each app needs', () => {
    const ready = { condition: 'service_healthy' };
    const done = { condition: 'service_completed_successfully' };
    expect(file.services['migrate']!.depends_on).toEqual({ postgres: ready });
    expect(file.services['api']!.depends_on).toEqual({ postgres: ready, migrate: done });
    for (const [, app] of named(['ingest-bridge', 'broker-watcher']))
      expect(app.depends_on).toEqual({ postgres: ready, mosquitto: ready, migrate: done });
  });

  it('names the version of each image, and builds ours from a stage of the Dockerfile', () => {
    const stages = dockerTargets();
    for (const [name, { image, build }] of services) {
      expect(image).toMatch(/:(v?\d[\w.-]*)$/);
      if (!(name in CONFIGS)) continue;
      expect(image).toBe(`tallystick/${build!.target}:${version}`);
      expect(build).toMatchObject({ context: '.', dockerfile: 'docker/Dockerfile' });
      expect(stages.has(build!.target)).toBe(true);
    }
  });

  it('mounts files that are there', () => {
    const sources = services.flatMap(([, { volumes = [] }]) => volumes.filter((volume) => typeof volume === 'string'));
    const mounted = sources.map((text) => text.split(':')[0]!).filter((source) => source.startsWith('./'));
    expect(mounted).toContain('./docker/mosquitto');
    // docker/<part> is there as a whole or not at all
    const missing = mounted.filter((source) => !existsSync(source) && existsSync(source.split('/').slice(0, 3).join('/')));
    expect(missing).toEqual([]);
    for (const source of sources.filter((text) => text.startsWith('./'))) expect(source).toMatch(/:ro$/);
  });

  it('declares the secrets that are used, as files that make-secrets.sh makes', () => {
    const used = new Set(services.flatMap(([, { secrets = [] }]) => secrets));
    expect([...used].sort()).toEqual(Object.keys(file.secrets).sort());
    expect(Object.values(file.secrets).map((secret) => secret.file)).toEqual(Object.keys(file.secrets).map((name) => `./secrets/${name}`));
    expect(readdirSync(madeSecrets()).sort()).toEqual(Object.keys(file.secrets).sort());
    for (const [, service] of services) {
      const paths = [...Object.values(service.environment ?? {}), ...(service.command ?? [])].join(' ').matchAll(/\/run\/secrets\/(\w+)/g);
      for (const [, secret] of paths) expect(service.secrets).toContain(secret);
    }
  });

  it('passes no secret as a value', () => {
    const values = services.flatMap(([, { environment = {} }]) => Object.keys(environment).filter((name) => /PASSWORD|_URL$/.test(name)));
    expect(values.filter((name) => !name.endsWith('_FILE') && !['MQTT_URL', 'PUBLIC_URL'].includes(name))).toEqual([]);
  });

  it.each(named(Object.keys(CONFIGS)))('sets only what %s reads, and it accepts it', (name, service) => {
    const type = CONFIGS[name]!;
    const known = new Set(describeSettings(type).flatMap(({ env, secret }) => (secret ? [env, `${env}_FILE`] : [env])));
    expect(Object.keys(service.environment ?? {}).filter((env) => !known.has(env))).toEqual([]);
    const environment = { HOST: '0.0.0.0', ...environmentOf(service, madeSecrets()) };
    expect(() => loadConfig(type, environment)).not.toThrow();
  });

  it('gives each app a login and a broker user of its own', () => {
    const of = (name: string, variable: string) => file.services[name]!.environment![variable];
    const apps = ['ingest-bridge', 'broker-watcher', 'api', 'migrate'];
    expect(new Set(apps.map((name) => of(name, 'DATABASE_USER'))).size).toBe(apps.length);
    expect(new Set(apps.map((name) => of(name, 'DATABASE_PASSWORD_FILE'))).size).toBe(apps.length);
    expect(file.services['ingest-bridge']!.environment).not.toHaveProperty('MQTT_CLIENT_ID');
  });

  it('has every variable in .env.example, and no other is there', () => {
    const offered = [...readFileSync('.env.example', 'utf8').matchAll(/^#(\w+)=/gm)].map(([, name]) => name!);
    expect(offered.sort()).toEqual([...variablesOf(file)].sort());
  });

  it('has the defaults of the apps in .env.example', () => {
    const [, ofApps] = readFileSync('.env.example', 'utf8').split('# --- The apps.');
    const defaults = new Map(
      Object.values(CONFIGS).flatMap((type) => describeSettings(type).map(({ env, defaultText }) => [env, defaultText])),
    );
    const offered = [...ofApps!.matchAll(/^#(\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]);
    expect(offered.length).toBeGreaterThan(20);
    expect(offered).toEqual(offered.map(([name]) => [name, defaults.get(name!)]));
  });
});

describe('docker/make-secrets.sh', () => {
  it('makes long secrets that only this user can reach, and touches none that is there', () => {
    const dir = madeSecrets();
    expect(statSync(dir).mode & 0o777).toBe(0o700);
    const read = () => Object.fromEntries(readdirSync(dir).map((name) => [name, readFileSync(join(dir, name), 'utf8')]));
    const before = read();
    expect(new Set(Object.values(before)).size).toBe(Object.keys(before).length);
    for (const [name, secret] of Object.entries(before)) {
      expect(secret).toMatch(/^[0-9a-f]{48}$/);
      expect(statSync(join(dir, name)).mode & 0o777).toBe(0o444);
    }
    rmSync(join(dir, 'database_api'));
    rmSync(join(dir, 'mqtt_simulator'));
    writeFileSync(join(dir, 'mqtt_simulator'), 'my own');
    expect(spawnSync('sh', ['docker/make-secrets.sh', dir]).status).toBe(0);
    const after = read();
    expect(after['database_api']).not.toBe(before['database_api']);
    expect(after).toEqual({ ...before, database_api: after['database_api'], mqtt_simulator: 'my own' });
  });

  it('says so where it cannot write', () => {
    const run = spawnSync('sh', ['docker/make-secrets.sh', '/dev/null/secrets'], { encoding: 'utf8' });
    expect(run.status).not.toBe(0);
    expect(run.stderr).toContain('/dev/null');
  });

  it('writes where neither git nor the builder of images looks', () => {
    expect(spawnSync('git', ['check-ignore', 'secrets/postgres_password', '.env', 'docker/mosquitto/passwd']).status).toBe(0);
    const kept = readFileSync('.dockerignore', 'utf8')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'));
    expect(kept[0]).toBe('*');
    expect(kept.filter((line) => line.startsWith('!')).map((line) => line.slice(1))).toEqual([
      'package.json',
      'package-lock.json',
      'nest-cli.json',
      'tsconfig.json',
      'scripts/build.mjs',
      'docker/healthcheck.mjs',
      'apps',
      'libs',
    ]);
  });
});

describe('docker/Dockerfile', () => {
  const text = readFileSync('docker/Dockerfile', 'utf8');
  const stages = dockerTargets();

  it('needs no BuildKit and no base image but Node', () => {
    expect(text).not.toMatch(/^# *syntax=|--mount|--chmod|--link|<<EOF/m);
    const bases = [...text.matchAll(/^FROM (\S+)/gm)].map(([, base]) => base!);
    expect(new Set(bases.filter((base) => !stages.has(base)))).toEqual(new Set(['node:24-bookworm-slim']));
    expect(stages.get('runtime')!.lines).toContain(`ARG VERSION=${version}`);
  });

  it('copies only what the builder is given', () => {
    const ignored = readFileSync('.dockerignore', 'utf8');
    const copied = [...text.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, sources]) => sources!.split(' '));
    expect(copied.length).toBeGreaterThan(0);
    for (const source of copied) {
      expect(ignored).toContain(`\n!${source}\n`);
      expect(existsSync(source)).toBe(true);
    }
  });

  it.each(['ingest-bridge', 'broker-watcher', 'api', 'cli'])('runs %s as nobody in particular, with its port and its health', (name) => {
    const { entrypoint, lines } = stages.get(name)!;
    expect(lines[0]).toBe(`FROM runtime AS ${name}`);
    expect(stages.get('runtime')!.lines).toContain('USER 1000:1000');
    expect(entrypoint.at(-1)).toBe(`dist/apps/${name}/src/main.js`);
    expect(existsSync(entrypoint.at(-1)!)).toBe(true);
    if (name === 'cli') return;
    const port = describeSettings(CONFIGS[name]!).find(({ env }) => env === 'PORT')!.defaultText;
    expect(lines).toEqual(expect.arrayContaining([`ENV PORT=${port}`, `EXPOSE ${port}`]));
    expect(lines.find((line) => line.startsWith('HEALTHCHECK'))).toMatch(/CMD \["node", "healthcheck.mjs"\]$/);
  });
});
