import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '@tallystick/embedded';
import { onCleanUp, startTestBroker, until } from '@tallystick/testing';
import { connectAsync } from 'mqtt';

const BUILT = resolve('dist/apps/cli/src/simulate/simulate.command.js');
const RUN = `import { simulateCommand } from ${JSON.stringify(BUILT)}; await simulateCommand().parseAsync(process.argv.slice(1), { from: 'user' });`;

/** The built command in a process of its own, with this environment alone. */
function start(args: string[], env: Record<string, string> = {}) {
  if (!existsSync(BUILT)) throw new Error(`${BUILT} is not there. Run \`npm run build\` first.`);
  const child = spawn(process.execPath, ['--input-type=module', '-e', RUN, '--', ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  onCleanUp(() => Promise.resolve(child.kill('SIGKILL')));
  const written = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) child[name].on('data', (text: Buffer) => (written[name] += text.toString()));
  const ended = new Promise<number | null>((settle) => child.once('close', settle));
  return { child, written, result: ended.then((exitCode) => ({ exitCode, ...written })) };
}

const run = (args: string[], env?: Record<string, string>) => start(args, env).result;

describe('tallystick simulate', () => {
  it('has help with every default', async () => {
    const { exitCode, stdout } = await run(['--help']);
    expect(exitCode).toBe(0);
    for (const text of ['(default: "10")', '(default: "veep")', 'mqtt://127.0.0.1:1883', '--qos', 'Ctrl-C', 'Exit codes'])
      expect(stdout).toContain(text);
    expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(84);
  });

  it.each([
    [['--devices', '0', '--rate', 'x'], /--devices must be .*\n.*--rate must be/],
    [['--tenants', '11'], /10 devices cannot belong to 11 tenants/],
    [['--colour', 'red'], /unknown option '--colour'/],
    [['--devices'], /argument missing/],
    [['now'], /too many arguments/],
  ])('refuses %j with exit code 64 before it looks for a broker', async (args, message) => {
    expect(await run(args)).toEqual({ exitCode: 64, stdout: '', stderr: expect.stringMatching(message) as string });
  });

  it('ends with 69 without a broker and with 78 in an environment that makes no sense', async () => {
    const nowhere = `mqtt://127.0.0.1:${await freePort()}`;
    expect(await run([], { MQTT_URL: nowhere })).toEqual({
      exitCode: 69,
      stdout: '',
      stderr: expect.stringMatching(/^error: No broker can be used at mqtt:.*\n$/) as string,
    });
    expect(await run([], { MQTT_URL: 'nonsense' })).toMatchObject({
      exitCode: 78,
      stderr: expect.stringContaining('MQTT_URL: must be') as string,
    });
  });

  it('prints the final count on stdout and ends with 0; --broker comes before MQTT_URL', async () => {
    const broker = await startTestBroker();
    const args = ['--count', '20', '--rate', '0', '--broker', broker.url];
    const { exitCode, stdout, stderr } = await run(args, { MQTT_URL: 'mqtt://127.0.0.1:1' });
    expect(stdout).toMatch(/^published +20 .*\nacknowledged +20 by the broker\nstored +not asked/);
    expect(stderr).toContain('Simulating 10 devices of 1 tenant');
    expect(exitCode).toBe(0);
  });

  it('does not take the client id that the environment gives an app', async () => {
    const broker = await startTestBroker();
    const app = await connectAsync(broker.url, { clientId: 'ingest-bridge-1', reconnectPeriod: 0 });
    expect(await run(['--count', '1', '--broker', broker.url], { MQTT_CLIENT_ID: 'ingest-bridge-1' })).toMatchObject({ exitCode: 0 });
    expect(app.connected).toBe(true);
    await app.endAsync();
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('stops at the first %s with the final count and 130', async (signal) => {
    const broker = await startTestBroker();
    const { child, written, result } = start(['--rate', '100', '--broker', broker.url]);
    await until(() => written.stderr.includes('Simulating'));
    child.kill(signal);
    expect(await result).toMatchObject({ exitCode: 130, stdout: expect.stringMatching(/^published +\d+ /) as string });
  });

  it('ends at once at the second Ctrl-C', async () => {
    const broker = await startTestBroker();
    const { child, written, result } = start(['--rate', '100', '--broker', broker.url]);
    await until(() => written.stderr.includes('Simulating'));
    // A broker that is stopped in its tracks answers nothing, so the first Ctrl-C has something to wait for.
    process.kill(broker.pid, 'SIGSTOP');
    try {
      await sleep(500);
      child.kill('SIGINT');
      await sleep(500);
      expect(child.exitCode).toBeNull();
      child.kill('SIGINT');
      expect(await result).toMatchObject({ exitCode: 130, stdout: '' });
    } finally {
      process.kill(broker.pid, 'SIGCONT');
    }
  });
});
