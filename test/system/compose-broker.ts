import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '@tallystick/embedded';
import { onCleanUp, until } from '@tallystick/testing';

const NOBODY = 65534;
/** How start.sh refuses what it was given. */
const EX_CONFIG = 78;
const isRoot = process.getuid?.() === 0;
/** Root's Mosquitto becomes nobody, as in libs/embedded: in its container it is an ordinary user too. */
const ACCOUNT = isRoot ? { uid: NOBODY, gid: NOBODY } : {};
/** An ordinary user's PATH does not look where Debian puts mosquitto. */
const PATH = `${process.env['PATH']}:/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin`;

/** The broker of docker-compose.yml without its container: docker/mosquitto as it is, but for paths and ports. */
export class ComposeBroker {
  private child!: ChildProcess;
  private exited!: Promise<number | NodeJS.Signals>;
  private readonly output: string[] = [];

  private constructor(
    private readonly dir: string,
    private readonly ports: { devices: number; services: number },
    private devices: Record<string, string>,
    private readonly environment: Record<string, string>,
  ) {}

  /**
   * `secrets` is a folder of make-secrets.sh; `devices` are users with their passwords, as an operator puts them into `passwd`.
   * With `awaitBridge`, as in the compose file, devices are let in when a bridge of a group has subscribed.
   */
  static async start(
    secrets: string,
    devices: Record<string, string>,
    { awaitBridge = true, patienceS = 60 }: { awaitBridge?: boolean; patienceS?: number } = {},
  ): Promise<ComposeBroker> {
    const dir = mkdtempSync(join(tmpdir(), 'compose-broker-'));
    const ports = { devices: await freePort(), services: await freePort() };
    for (const folder of ['config', 'run', 'data']) mkdirSync(join(dir, folder));
    for (const name of ['start.sh', 'mosquitto.conf', 'acl']) {
      const text = readFileSync(join('docker/mosquitto', name), 'utf8')
        .replaceAll('/mosquitto/config', join(dir, 'config'))
        .replaceAll('/mosquitto/data/', `${join(dir, 'data')}/`)
        .replaceAll('/run/mosquitto', join(dir, 'run'))
        .replaceAll('/run/secrets', join(dir, 'secrets'))
        .replace('mosquitto_sub -p 1884', `mosquitto_sub -p ${ports.services}`)
        .replace('patience_s=60', `patience_s=${patienceS}`)
        .replace(/^listener 1883$/m, `listener ${ports.devices} 127.0.0.1`)
        .replace(/^listener 1884$/m, `listener ${ports.services} 127.0.0.1`);
      writeFileSync(join(dir, 'config', name), text);
    }
    cpSync(secrets, join(dir, 'secrets'), { recursive: true });
    writeDevices(dir, devices);
    if (isRoot) letNobodyIn(dir);
    const broker = new ComposeBroker(dir, ports, devices, { PATH, AWAIT_BRIDGE: String(awaitBridge) });
    onCleanUp(async () => {
      broker.child.kill('SIGKILL');
      await broker.exited;
      rmSync(dir, { recursive: true, force: true });
    });
    await broker.startAgain();
    return broker;
  }

  /** After `stop`: on the same ports, with the sessions and messages that it saved. */
  async startAgain(): Promise<void> {
    const { dir, ports, environment: env } = this;
    // A process group is what a container is here: nothing in it outlives its first process.
    const child = spawn('sh', [join(dir, 'config', 'start.sh')], { ...ACCOUNT, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => this.output.push(chunk.toString()));
    this.child = child;
    this.exited = new Promise((resolve) => child.once('exit', (code, signal) => (this.killOthers(), resolve(code ?? signal!))));
    // Asked by connecting: whoever listens to see whether a port is taken, takes it from the broker.
    await until(async () => child.exitCode !== null || ((await answers(ports.devices)) && (await answers(ports.services))));
    if (child.exitCode !== null && child.exitCode !== EX_CONFIG) throw new Error(`the broker ended with ${child.exitCode}: ${this.log}`);
  }

  /** The published listener. */
  get devicesUrl(): string {
    return `mqtt://127.0.0.1:${this.ports.devices}`;
  }

  /** The listener of the compose network. */
  get servicesUrl(): string {
    return `mqtt://127.0.0.1:${this.ports.services}`;
  }

  get log(): string {
    return this.output.join('');
  }

  /** null while it runs. */
  get exitCode(): number | null {
    return this.child.exitCode;
  }

  /** The command lines of start.sh's process and of what it became. */
  commandLine(): string {
    return spawnSync('ps', ['-o', 'args=', '-p', String(this.child.pid)], { encoding: 'utf8' }).stdout.trim();
  }

  /** Who listens for start.sh until a bridge has subscribed. */
  get gate(): { username: string; password: string; pid: number } {
    const [, username, password] = /-u (\S+)\n-P (\S+)/.exec(readFileSync(join(this.dir, 'run/gate/mosquitto_sub'), 'utf8'))!;
    const { stdout } = spawnSync('pgrep', ['-g', String(this.child.pid), 'mosquitto_sub'], { encoding: 'utf8' });
    return { username: username!, password: password!, pid: Number(stdout) };
  }

  /** The container's health check; its exit code. */
  check(test: string[]): number | null {
    const [kind, command, ...args] = test;
    expect(kind).toBe('CMD');
    const env = { PATH, XDG_CONFIG_HOME: join(this.dir, 'run') };
    return spawnSync(command!, [...args, '-p', String(this.ports.devices)], { ...ACCOUNT, env, stdio: 'ignore' }).status;
  }

  /** `docker compose exec mosquitto sh /mosquitto/config/start.sh reload`, after the operator changed his devices. */
  reload(devices = this.devices): void {
    this.devices = devices;
    writeDevices(this.dir, devices);
    if (isRoot) letNobodyIn(this.dir);
    const script = join(this.dir, 'config', 'start.sh');
    writeFileSync(script, readFileSync(script, 'utf8').replace(/kill -HUP \d+/, `kill -HUP ${this.child.pid}`));
    expect(spawnSync('sh', [script, 'reload'], { ...ACCOUNT, env: { PATH }, stdio: 'inherit' }).status).toBe(0);
  }

  /** Another password for a service, as by a new secret and a reload. `secret` is the name of its file. */
  changePassword(secret: string, password: string): void {
    const file = join(this.dir, 'secrets', secret);
    rmSync(file);
    writeFileSync(file, password);
    this.reload();
  }

  /** What is left of the group when its first process has just ended. */
  private killOthers(): void {
    try {
      process.kill(-this.child.pid!, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  /** SIGTERM; the exit code, or what signal ended it. */
  stop(): Promise<number | NodeJS.Signals> {
    this.child.kill('SIGTERM');
    return this.exited;
  }
}

/** Whether somebody takes connections at 127.0.0.1:`port`. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => (socket.destroy(), resolve(true)));
    socket.once('error', () => resolve(false));
  });
}

function writeDevices(dir: string, devices: Record<string, string>): void {
  const file = join(dir, 'config', 'passwd');
  rmSync(file, { force: true });
  for (const [index, [user, password]] of Object.entries(devices).entries()) {
    const args = [...(index === 0 ? ['-c'] : []), '-b', file, user, password];
    expect(spawnSync('mosquitto_passwd', args).status).toBe(0);
  }
}

function letNobodyIn(dir: string): void {
  for (const entry of ['', ...readdirSync(dir, { recursive: true, encoding: 'utf8' })]) chownSync(join(dir, entry), NOBODY, NOBODY);
  const { mode } = statSync(tmpdir());
  if ((mode & 0o001) === 0) chmodSync(tmpdir(), mode | 0o001);
}
