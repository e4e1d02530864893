import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** The smallest app on runApp, in plain JavaScript against the build, as a real app's main.js is. SAMPLE names how it misbehaves. */
const SAMPLE_APP = `
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Group, HttpSettings } from './dist/libs/config/src/index.js';
import { FatalError, Lifecycle, ObservabilityModule, runApp } from './dist/libs/observability/src/index.js';

const sample = process.env.SAMPLE;

class SampleConfig {}
Group(HttpSettings, { port: 0 })(SampleConfig.prototype, 'http');

class SampleModule {}
Module({ imports: [ObservabilityModule.forRoot()] })(SampleModule);

await runApp({
  name: 'sample',
  config: SampleConfig,
  create: async (config, options) => {
    if (sample === 'fails-at-start') throw Object.assign(new Error('schema too old'), { exitCode: 65, code: 'SCHEMA_OUTDATED' });
    return NestFactory.create(SampleModule, options);
  },
  afterListen: async (app) => {
    if (sample === 'waits-for-broker') await new Promise(() => setInterval(() => undefined, 1000));
    if (sample === 'rejects') void Promise.reject(new Error('nobody catches'));
    if (sample === 'fails') app.get(Lifecycle).fail(new FatalError('cannot commit', { exitCode: 71 }));
  },
  drain: async (app) => {
    if (sample === 'drains-slowly') await new Promise((resolve) => setTimeout(resolve, 700));
    if (sample === 'never-drains') await new Promise(() => undefined);
    if (sample === 'fails-to-drain') throw new Error('half of it is lost');
  },
});
`;

interface Line {
  level: string;
  message: string;
  url?: string;
  error?: { message: string; code?: string };
}

/** The sample app as a process of its own. */
class SampleApp {
  output = '';
  readonly child: ChildProcess;

  constructor(sample: string, env: Record<string, string> = {}, stdio: StdioOptions = ['ignore', 'pipe', 'pipe']) {
    this.child = spawn(process.execPath, ['--input-type=module', '--eval', SAMPLE_APP], {
      env: { PATH: process.env.PATH, SAMPLE: sample, ...env },
      stdio,
    });
    for (const stream of [this.child.stdout, this.child.stderr]) stream?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
  }

  get lines(): Line[] {
    return this.output
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Line);
  }

  async url(): Promise<string> {
    for (;;) {
      const url = this.output.includes('"listening"') && this.lines.find((line) => line.message === 'listening')?.url;
      if (url) return url;
      if (this.child.exitCode !== null) throw new Error(`exited ${this.child.exitCode}: ${this.output}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async exit(): Promise<number> {
    // Not the event 'close': Node does not emit it after a disconnect from our side.
    if (this.child.exitCode === null) await once(this.child, 'exit');
    for (const stream of [this.child.stdout!, this.child.stderr!]) if (!stream.destroyed) await once(stream, 'close');
    return this.child.exitCode!;
  }
}

describe('runApp', () => {
  const started: SampleApp[] = [];
  const start = (...args: ConstructorParameters<typeof SampleApp>) => {
    const app = new SampleApp(...args);
    started.push(app);
    return app;
  };
  afterEach(() => started.splice(0).forEach((app) => app.child.kill('SIGKILL')));

  it('prints every configuration problem and starts nothing', async () => {
    const app = start('', { PORT: 'x', LOG_LEVEL: 'loud' });
    expect(await app.exit()).toBe(78);
    expect(app.output).toMatch(/2 problems:\n {2}PORT: .*\n {2}LOG_LEVEL: /);
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('stops on %s with 0', async (signal) => {
    const app = start('');
    expect(await (await fetch(`${await app.url()}/readyz`)).text()).toBe('ok');
    app.child.kill(signal);
    expect(await app.exit()).toBe(0);
    expect(app.lines.map((line) => line.message)).toEqual(['listening', 'stopping', 'stopped']);
  });

  it('turns not ready first, drains, and ignores a second request to stop', async () => {
    const app = start('drains-slowly');
    const url = await app.url();
    app.child.kill('SIGTERM');
    await new Promise((resolve) => setTimeout(resolve, 200));
    app.child.kill('SIGINT');
    expect((await fetch(`${url}/readyz`)).status).toBe(503);
    expect((await fetch(`${url}/livez`)).status).toBe(200);
    expect(await app.exit()).toBe(0);
  });

  it('gives up after ten seconds with 75', async () => {
    const app = start('never-drains');
    await app.url();
    app.child.kill('SIGTERM');
    expect(await app.exit()).toBe(75);
    expect(app.lines.at(-1)).toMatchObject({ level: 'fatal' });
  }, 20_000);

  it('says so when draining fails', async () => {
    const app = start('fails-to-drain');
    await app.url();
    app.child.kill('SIGTERM');
    expect(await app.exit()).toBe(70);
    expect(app.lines.at(-1)).toMatchObject({ level: 'fatal', error: { message: 'half of it is lost' } });
  });

  it('answers probes and stops while it waits for the broker', async () => {
    const app = start('waits-for-broker');
    expect((await fetch(`${await app.url()}/startupz`)).status).toBe(200);
    app.child.kill('SIGTERM');
    expect(await app.exit()).toBe(0);
  });

  it('stops when its supervisor is gone', async () => {
    const app = start('', {}, ['ignore', 'pipe', 'pipe', 'ipc']);
    await app.url();
    app.child.disconnect();
    expect(await app.exit()).toBe(0);
  });

  it('stops in order although nobody reads its output any more', async () => {
    const app = start('', { LOG_LEVEL: 'debug' }, ['ignore', 'pipe', 'pipe', 'ipc']);
    await app.url();
    app.child.stdout!.destroy();
    app.child.stderr!.destroy();
    app.child.disconnect();
    expect(await app.exit()).toBe(0);
  });

  it.each([
    ['fails-at-start', 65, { message: 'schema too old', code: 'SCHEMA_OUTDATED' }],
    ['rejects', 70, { message: 'nobody catches' }],
    ['fails', 71, { message: 'cannot commit', code: 'FATAL' }],
  ])('%s: one fatal line, exit %i', async (sample, code, error) => {
    const app = start(sample);
    expect(await app.exit()).toBe(code);
    const fatal = app.lines.filter((line) => line.level === 'fatal');
    expect(fatal).toHaveLength(1);
    expect(fatal[0]).toMatchObject({ error });
  });

  it('names the port that is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const app = start('', { PORT: String(port) });
    expect(await app.exit()).toBe(69);
    expect(app.lines.at(-1)!.error).toMatchObject({ code: 'EADDRINUSE', message: expect.stringContaining(`127.0.0.1:${port} is in use`) });
    other.close();
  });
});
