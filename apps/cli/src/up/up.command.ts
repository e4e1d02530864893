import { spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ConfigurationError, type Environment, loadConfig } from '@tallystick/config';
import { type EmbeddedBroker, type EmbeddedPostgres, portInUse, startBroker, startEmbeddedPostgres } from '@tallystick/embedded';
import { EXIT_UNAVAILABLE } from '@tallystick/observability';
import { Command } from 'commander';
import { migrateDatabase } from '../migrate/migrate.command.js';
import { CliError } from '../problem.js';
import { ChildApp, mainOf } from './child-app.js';
import { lockFolder } from './folder-lock.js';
import { serviceAddresses } from './service-addresses.js';
import { writeSetupToken } from './setup-token-file.js';
import { masked, startBlock } from './start-block.js';
import { UpConfig } from './up.config.js';

/** As shells say it of a process ended by SIGINT. */
const EXIT_INTERRUPTED = 130;
const READY_LIMIT_MS = 60_000;

export function upCommand(): Command {
  return new Command('up')
    .description('Start everything on this machine: PostgreSQL, a broker, the apps. Ctrl-C stops it all, the data stays.')
    .option('--simulate', 'let ten simulated energy meters send readings', false)
    .addHelpText('after', '\nWith DATABASE_URL or MQTT_URL set, that database or broker is used and the embedded one is not started.')
    .action(async ({ simulate }: { simulate: boolean }) => {
      const supervisor = new Supervisor(await checkedConfig(process.env));
      await supervisor.run(simulate);
    });
}

/** The configuration of `up` after every app has accepted its own: all problems at once, before anything is started. */
async function checkedConfig(environment: Environment): Promise<Readonly<UpConfig>> {
  const problems = new Set<string>();
  const collect = (text: string) =>
    text
      .split('\n')
      .filter((line) => line.startsWith('  '))
      .forEach((line) => problems.add(line.trim()));
  const outputs = APPS.map(({ name }) => checkOutput(name, environment));
  let config: Readonly<UpConfig> | undefined;
  try {
    config = loadConfig(UpConfig, environment);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    collect(error.message);
  }
  (await Promise.all(outputs)).forEach(collect);
  if (problems.size > 0 || !config) throw new ConfigurationError([...problems]);
  return config;
}

/** What an app says of its configuration; the addresses of embedded parts are not known yet, so placeholders stand for them. */
function checkOutput(app: string, environment: Environment): Promise<string> {
  const addresses = {
    ...(!environment.DATABASE_URL_FILE && { DATABASE_URL: 'postgres://embedded/embedded' }),
    ...(!environment.MQTT_URL_FILE && { MQTT_URL: 'mqtt://embedded' }),
  };
  const env = { ...addresses, ...environment, PORT: undefined };
  const child = spawn(process.execPath, [mainOf(app), '--check-config'], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let output = '';
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  return new Promise((resolve) => child.once('close', () => resolve(output)));
}

interface App {
  name: string;
  port: (config: Readonly<UpConfig>) => number;
  env?: Record<string, string>;
  /** Everything is stopped when it cannot run. */
  isEssential: boolean;
}

const WATCHER: App = {
  name: 'broker-watcher',
  port: (config) => config.brokerWatcherPort,
  // MQTT_CLIENT_ID, if set, is the bridge's: under one id the two would throw each other out for ever. Empty is its own default.
  env: { MQTT_CLIENT_ID: '' },
  // Messages are stored whether or not somebody writes down what the broker does.
  isEssential: false,
};
const BRIDGE: App = { name: 'ingest-bridge', port: (config) => config.ingestBridgePort, isEssential: true };
const APPS = [WATCHER, { name: 'api', port: (config) => config.apiPort, isEssential: true }, BRIDGE] satisfies App[];

/** For the watcher of a broker that was just started, so that it hears the bridge connect and subscribe. */
const HEAD_START_MS = 5_000;

/** Everything that `up` runs, started in the order of need and stopped in the opposite one. */
class Supervisor {
  private readonly dataDir: string;
  private postgres: Promise<EmbeddedPostgres> | undefined;
  private broker: Promise<EmbeddedBroker> | undefined;
  private unlock: (() => void) | undefined;
  private readonly apps: ChildApp[] = [];
  private stop!: (problem?: CliError) => void;
  /** Settles when somebody asks to stop, or when going on makes no sense. */
  private readonly stopped = new Promise<CliError | undefined>((settle) => (this.stop = settle));
  private isStopping = false;
  private signals = 0;
  private starting: Promise<void> = Promise.resolve();

  constructor(private readonly config: Readonly<UpConfig>) {
    this.dataDir = resolve(config.dataDir);
  }

  async run(simulate: boolean): Promise<void> {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => this.onSignal());
    try {
      this.starting = this.start(simulate);
      await Promise.race([this.starting, this.stopped]);
      const problem = await this.stopped;
      if (problem) throw problem;
    } finally {
      await this.end();
    }
  }

  private async start(simulate: boolean): Promise<void> {
    const startedAtMs = performance.now();
    await this.assertPortsFree();
    this.unlock = lockFolder(this.dataDir);
    mkdirSync(join(this.dataDir, 'logs'), { recursive: true, mode: 0o700 });
    const [databaseUrl, mqttUrl] = await Promise.all([this.startDatabase(), this.startBroker()]);
    if (this.isStopping) return;
    const applied = await migrateDatabase(databaseUrl);
    if (applied.length > 0) say(`schema: ${applied.join(', ')} applied`);
    const addressOf = this.postgres ? await serviceAddresses(databaseUrl) : () => databaseUrl;
    const setupToken = await writeSetupToken(databaseUrl, this.dataDir);
    for (const app of APPS) {
      const { name, port, env, isEssential }: App = app;
      if (app === BRIDGE && this.broker) await this.giveHeadStart(WATCHER);
      if (this.isStopping) return;
      // What is given as a value must not also be given as a file.
      const addresses = { DATABASE_URL: addressOf(name), DATABASE_URL_FILE: '', MQTT_URL: mqttUrl, MQTT_URL_FILE: '' };
      this.startApp(name, [], { ...addresses, ...env, PORT: String(port(this.config)) }, isEssential);
    }
    // A broker of one's own may keep $SYS to itself: then the watcher says so, and the rest works without it.
    const awaited = APPS.filter(({ isEssential }) => isEssential || this.broker !== undefined);
    await Promise.all(awaited.map((app) => this.untilReady(app)));
    if (this.isStopping) return;
    if (simulate) this.startApp('cli', ['simulate', '--devices', '10', '--rate', '10', '--broker', mqttUrl], {}, false);
    process.stdout.write(
      `${startBlock({
        seconds: (performance.now() - startedAtMs) / 1000,
        apiUrl: this.httpUrl(this.config.apiPort),
        databaseUrl: this.postgres ? databaseUrl : masked(databaseUrl),
        mqttUrl: masked(mqttUrl),
        broker: (await this.broker)?.kind ?? 'external',
        host: this.config.host,
        dataDir: this.dataDir,
        simulating: simulate,
        setupToken,
      })}\n`,
    );
  }

  private httpUrl(port: number): string {
    const { host } = this.config;
    return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
  }

  private async assertPortsFree(): Promise<void> {
    const wanted: [string, number, string][] = [
      ['the API', this.config.apiPort, 'API_PORT'],
      ['the ingest bridge', this.config.ingestBridgePort, 'INGEST_BRIDGE_PORT'],
      ['the broker watcher', this.config.brokerWatcherPort, 'BROKER_WATCHER_PORT'],
    ];
    // A server that outlived a killed `up` may hold its port; starting the embedded ones deals with that.
    const isFirstStart = !existsSync(this.dataDir);
    if (isFirstStart && !this.config.databaseUrl) wanted.push(['PostgreSQL', this.config.postgresPort, 'EMBEDDED_POSTGRES_PORT']);
    if (isFirstStart && !this.config.mqttUrl) wanted.push(['the broker', this.config.brokerPort, 'EMBEDDED_BROKER_PORT']);
    const taken = [];
    for (const [what, port, setting] of wanted) {
      if (await portInUse(port)) taken.push(`  ${port}, for ${what}: choose another one with ${setting}=… , or stop what uses it`);
    }
    if (taken.length > 0)
      throw new CliError(`Nothing was started, because these ports of 127.0.0.1 are in use:\n${taken.join('\n')}`, EXIT_UNAVAILABLE);
  }

  private async startDatabase(): Promise<string> {
    if (this.config.databaseUrl) return this.config.databaseUrl;
    this.postgres = startEmbeddedPostgres({ dataDir: join(this.dataDir, 'postgres'), port: this.config.postgresPort, log: say });
    const { url, exited } = await this.postgres;
    void exited.then(() => this.onServerEnd('PostgreSQL'));
    return url;
  }

  private async startBroker(): Promise<string> {
    if (this.config.mqttUrl) return this.config.mqttUrl;
    this.broker = startBroker({ dir: join(this.dataDir, 'broker'), port: this.config.brokerPort, log: say });
    const { url, exited } = await this.broker;
    void exited.then(() => this.onServerEnd('the broker'));
    return url;
  }

  private startApp(name: string, args: string[], env: Record<string, string>, isEssential: boolean): void {
    const app = new ChildApp({
      name,
      args,
      env: { ...process.env, ...env },
      logsDir: join(this.dataDir, 'logs'),
      say,
      isEssential,
      onFinalExit: (problem) => {
        const text = `${problem}; its log is in ${join(this.dataDir, 'logs', `${name}.log`)}`;
        if (isEssential) this.stop(new CliError(text, EXIT_UNAVAILABLE));
        else say(`${text}. It stays off until everything is started anew; everything else goes on`);
      },
    });
    this.apps.push(app);
    app.start();
  }

  private async giveHeadStart({ port }: App): Promise<void> {
    const url = `${this.httpUrl(port(this.config))}/readyz`;
    for (const untilMs = performance.now() + HEAD_START_MS; !this.isStopping && performance.now() < untilMs; await sleep(50)) {
      if (await isReady(url)) return;
    }
  }

  private async untilReady({ name, port, isEssential }: App): Promise<void> {
    const url = this.httpUrl(port(this.config));
    for (const giveUpAtMs = performance.now() + READY_LIMIT_MS; !this.isStopping; await sleep(50)) {
      if (await isReady(`${url}/readyz`)) return;
      if (this.apps.some((app) => app.name === name && app.cannotRun)) return;
      if (performance.now() < giveUpAtMs) continue;
      const problem = `${name} is not ready after ${READY_LIMIT_MS / 1000} s; ${url}/health says why, and so does its log in ${join(this.dataDir, 'logs')}`;
      if (isEssential) throw new CliError(problem, EXIT_UNAVAILABLE);
      return say(problem);
    }
  }

  private onServerEnd(name: string): void {
    if (!this.isStopping)
      this.stop(new CliError(`${name} ended unasked; everything is stopped. Its log is in ${this.dataDir}`, EXIT_UNAVAILABLE));
  }

  private onSignal(): void {
    if (!this.isStopping) return this.stop();
    if (++this.signals > 2) process.exit(EXIT_INTERRUPTED);
    say('still stopping: what was received is being stored (once more ends at once; nothing acknowledged is lost)');
  }

  private async end(): Promise<void> {
    this.isStopping = true;
    // What is being started right now must be there before it can be stopped; its failure has been reported already.
    await Promise.allSettled([this.starting, this.postgres, this.broker]);
    if (this.apps.length > 0) say('stopping …');
    // First those that use database and broker, so that what they hold can still be stored and acknowledged.
    await Promise.all(this.apps.map((app) => app.stop()));
    for (const server of [this.broker, this.postgres]) await server?.then((started) => started.stop()).catch(() => undefined);
    this.unlock?.();
    if (this.apps.length > 0) say('stopped');
  }
}

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(2_000) })).ok;
  } catch {
    return false;
  }
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
