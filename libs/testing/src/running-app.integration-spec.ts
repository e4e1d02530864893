import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stopAll } from './clean-up.js';
import { installedPostgres } from './installed-postgres.js';
import { startApp } from './running-app.js';
import { startTestBroker } from './test-broker.js';
import { until } from './until.js';

/** Answers like an app, ready after the second question; ends with code 3 on SIGTERM unless it is told to be deaf. */
const APP = `import { createServer } from 'node:http';
if (process.env.FAIL) { console.error('MQTT_URL is not set'); process.exit(64); }
let asked = 0;
createServer((request, response) => {
  response.statusCode = request.url === '/livez' || (request.url === '/readyz' && ++asked > 1) ? 200 : 503;
  response.end(JSON.stringify(process.env));
}).listen(process.env.PORT, process.env.HOST, () => console.log(JSON.stringify({ level: 'log', message: 'listening' })));
process.on('SIGTERM', () => process.env.DEAF || process.exit(3));`;

describe('what a spec starts', () => {
  const dir = mkdtempSync(join(tmpdir(), 'tallystick-app-'));
  const main = join(dir, 'main.mjs');
  beforeAll(() => writeFileSync(main, APP));
  afterEach(stopAll);
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('is an app with the given environment alone, its log and its exit code', async () => {
    const app = await startApp('api', { LOG_LEVEL: 'debug' }, { main });
    await app.waitForReady(5_000);
    const environment = (await (await fetch(`${app.url}/readyz`)).json()) as Record<string, string>;
    expect(Object.keys(environment).sort()).toEqual(['HOST', 'LOG_LEVEL', 'PATH', 'PORT']);
    expect(await app.stop()).toBe(3);
    expect(app.logs).toEqual([{ level: 'log', message: 'listening' }]);
  });

  it('may end by itself, which is an answer too', async () => {
    const app = await startApp('api', { FAIL: '1' }, { main });
    expect(await app.exited).toEqual({ code: 64, signal: null });
    expect(app.logs).toEqual([{ message: 'MQTT_URL is not set' }]);
    await expect(app.waitForReady()).rejects.toThrow('MQTT_URL is not set');
  });

  it('does not survive the spec, and a deaf app is a failure', async () => {
    const deaf = await startApp('api', { DEAF: '1' }, { main, stopTimeoutMs: 50 });
    const left = await startApp('api', {}, { main });
    await expect(deaf.stop()).rejects.toThrow('did not stop within 50 ms');
    await stopAll();
    expect(await left.exited).toEqual({ code: null, signal: 'SIGKILL' });
  });

  it('is a broker that can be killed and comes back on its port', async () => {
    const broker = await startTestBroker();
    const { port, pid } = broker;
    await broker.kill();
    await broker.restart();
    expect(broker.port).toBe(port);
    expect(broker.pid).not.toBe(pid);
  });

  it('may be any PostgreSQL of this machine', async () => {
    const [embedded, ...packaged] = await installedPostgres();
    expect(embedded).toEqual({ version: 18 });
    for (const { version, binDir } of packaged) expect(binDir).toContain(String(version));
  });

  it('is waited for, with the reason when it was in vain', async () => {
    let calls = 0;
    expect(await until(() => (++calls > 2 ? 'now' : undefined))).toBe('now');
    const refuse = () => {
      throw new Error('refused');
    };
    await expect(until(refuse, { timeoutMs: 30 })).rejects.toMatchObject({ cause: new Error('refused') });
  });
});
