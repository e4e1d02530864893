import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '@tallystick/embedded';
import { type AppName, onCleanUp, type RunningApp, startApp } from '@tallystick/testing';
import { ComposeBroker } from './compose-broker.js';
import { composeFile, dockerTargets, environmentOf } from './compose-file.js';
import { query } from './record-oracle.js';

/** docker-compose.yml without its containers: a PostgreSQL and a Mosquitto of its own, and its services as their images start them. */
export class ComposeProject {
  readonly services = composeFile().services;

  private constructor(
    /** `secrets`, the server's `database/postgres`, and what is in the images: `node_modules` and `images/<name>` */
    readonly dir: string,
    private server: EmbeddedPostgres,
    readonly broker: ComposeBroker,
  ) {}

  /** Database and broker run; nothing is migrated and no service started. `devices` are users of the broker with their passwords. */
  static async start(devices: Record<string, string>): Promise<ComposeProject> {
    const dir = mkdtempSync(join(tmpdir(), 'compose-'));
    onCleanUp(() => Promise.resolve(rmSync(dir, { recursive: true, force: true })));
    makeImages(dir);
    makeSecrets(dir);
    const broker = await ComposeBroker.start(join(dir, 'secrets'), devices);
    // A server of its own: the logins belong to the server, and it must keep what it commits, as the apps want it.
    const server = await startEmbeddedPostgres({ dataDir: join(dir, 'database', 'postgres'), port: 0 });
    const project = new ComposeProject(dir, server, broker);
    onCleanUp(() => project.stopDatabase());
    await query(server.url, `CREATE ROLE tallystick SUPERUSER LOGIN PASSWORD '${project.secret('postgres_password')}'`);
    await query(server.url, 'ALTER DATABASE tallystick OWNER TO tallystick');
    return project;
  }

  get databaseUrl(): string {
    return this.server.url;
  }

  get databasePort(): number {
    return this.server.port;
  }

  secret(name: string): string {
    return readFileSync(join(this.dir, 'secrets', name), 'utf8');
  }

  /** Lets make-secrets.sh make it again. */
  renewSecret(name: string): void {
    rmSync(join(this.dir, 'secrets', name));
    makeSecrets(this.dir);
  }

  async stopDatabase(): Promise<void> {
    this.signalDatabase('SIGCONT');
    await this.server.stop();
  }

  /** On the same port, with what was committed. */
  async startDatabase(): Promise<void> {
    this.server = await startEmbeddedPostgres({ dataDir: join(this.dir, 'database', 'postgres'), port: this.server.port });
  }

  /** To every process of the server. After SIGSTOP it keeps its connections, lets new ones wait, and answers nobody. */
  signalDatabase(signal: 'SIGSTOP' | 'SIGCONT'): void {
    // Its first process before the others, or it would start new ones meanwhile.
    for (const pid of [this.server.pid, ...childrenOf(this.server.pid)]) {
      try {
        process.kill(pid, signal);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    }
  }

  /** A service as its image starts it, with the environment of the compose file: only hosts, ports and the folder of secrets differ. */
  start(name: string, { args = [], env = {} }: { args?: string[]; env?: Record<string, string> } = {}): Promise<RunningApp> {
    const service = this.services[name]!;
    const image = service.build!.target as AppName;
    const [node, maps, ...options] = dockerTargets().get(image)!.entrypoint;
    const main = options.pop();
    // startApp's own beginning
    expect([node, maps]).toEqual(['node', '--enable-source-maps']);
    const secrets = join(this.dir, 'secrets');
    const environment: Record<string, string> = { NODE_ENV: 'production', HOST: '0.0.0.0', ...environmentOf(service, secrets) };
    if (environment['DATABASE_HOST']) Object.assign(environment, { DATABASE_HOST: '127.0.0.1', DATABASE_PORT: String(this.databasePort) });
    if (environment['MQTT_URL']) environment['MQTT_URL'] = this.broker.servicesUrl;
    if (options.length > 0) environment['NODE_OPTIONS'] = options.join(' ');
    const command = (service.command ?? []).map((arg) => arg.replace('/run/secrets', secrets));
    return startApp(
      image,
      { ...environment, ...env },
      {
        main: join(this.dir, 'images', image, main!),
        args: [...command, ...args],
        // Several at once, from files never read before.
        startTimeoutMs: 60_000,
      },
    );
  }

  async runToEnd(name: string, args: string[] = []): Promise<{ code: number | null; text: string }> {
    const app = await this.start(name, { args });
    return { code: (await app.exited).code, text: output(app) };
  }

  /** A new key of the platform, made as the README does. */
  async createKey(): Promise<string> {
    const { code, text } = await this.runToEnd('cli', ['keys', 'create', '--label', 'me']);
    expect(code).toBe(0);
    return text.split('\n').find((line) => line.startsWith('tly_'))!;
  }
}

export function output(app: RunningApp): string {
  return app.logs.map((line) => String(line.message)).join('\n');
}

/** What is in the images: packages neither for development nor optional (npm ci --omit=dev --omit=optional), libs, one app each. */
function makeImages(dir: string): void {
  const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
    packages: Record<string, { dev?: boolean; optional?: boolean; devOptional?: boolean }>;
  };
  const kept = Object.keys(packages).filter((path) => {
    const { dev, optional, devOptional } = packages[path]!;
    return path.lastIndexOf('node_modules/') === 0 && !dev && !optional && !devOptional;
  });
  for (const path of kept) cpSync(path, join(dir, path), { recursive: true });
  for (const name of ['ingest-bridge', 'broker-watcher', 'api', 'cli']) {
    const image = join(dir, 'images', name);
    mkdirSync(join(image, 'dist', 'apps'), { recursive: true });
    symlinkSync(join(dir, 'node_modules'), join(image, 'node_modules'));
    cpSync('dist/libs', join(image, 'dist', 'libs'), { recursive: true });
    cpSync(join('dist/apps', name), join(image, 'dist', 'apps', name), { recursive: true });
    for (const file of ['package.json', 'docker/healthcheck.mjs']) cpSync(file, join(image, file.replace('docker/', '')));
  }
}

function makeSecrets(dir: string): void {
  expect(spawnSync('sh', ['docker/make-secrets.sh', join(dir, 'secrets')]).status).toBe(0);
}

function childrenOf(parent: number): number[] {
  const { stdout } = spawnSync('ps', ['-A', '-o', 'ppid=,pid='], { encoding: 'utf8' });
  const rows = stdout.split('\n').map((line) => line.trim().split(/\s+/).map(Number));
  return rows.filter(([ppid]) => ppid === parent).map(([, pid]) => pid!);
}
