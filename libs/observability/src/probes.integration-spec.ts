import 'reflect-metadata';
import { type INestApplication, Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Lifecycle } from './lifecycle.js';
import { Metrics } from './metrics.js';
import { ObservabilityModule } from './observability.module.js';
import type { CheckResult, ReadinessCheck } from './readiness.js';

interface Report {
  details: object;
  error: Record<string, object>;
}

@Injectable()
class BrokerCheck implements ReadinessCheck {
  readonly name = 'broker';
  calls = 0;
  next: () => Promise<CheckResult> | CheckResult = () => ({ ready: true, detail: { url: 'mqtt://b', status: 'connected' } });

  check(): Promise<CheckResult> | CheckResult {
    this.calls++;
    return this.next();
  }
}

@Module({ providers: [BrokerCheck] })
class BrokerModule {}

@Module({ imports: [ObservabilityModule.forRoot({ checks: [BrokerCheck] }), BrokerModule] })
class SampleModule {}

describe('probes and metrics', () => {
  let app: INestApplication;
  let url: string;
  let check: BrokerCheck;

  beforeEach(async () => {
    app = await NestFactory.create(SampleModule, { logger: false });
    await app.listen(0, '127.0.0.1');
    url = await app.getUrl();
    check = app.get(BrokerCheck, { strict: false });
  });
  afterEach(() => app.close());

  const probe = async (path: string) => {
    const response = await fetch(url + path);
    return [response.status, await response.text()] as const;
  };
  const started = () => app.get(Lifecycle).started();

  it('turns ready when started and not ready at once when draining, without asking the checks', async () => {
    expect(await probe('/livez')).toEqual([200, 'ok']);
    expect(await probe('/startupz')).toEqual([503, 'starting']);
    expect(await probe('/readyz')).toEqual([503, 'not ready']);
    started();
    expect(await probe('/startupz')).toEqual([200, 'ok']);
    expect(await probe('/readyz')).toEqual([200, 'ok']);
    const asked = check.calls;
    app.get(Lifecycle).drain();
    expect(await probe('/readyz')).toEqual([503, 'draining']);
    expect(await probe('/livez')).toEqual([200, 'ok']);
    expect(check.calls).toBe(asked);
  });

  it('says in /health which check fails and why', async () => {
    started();
    const health = async () => (await (await fetch(`${url}/health`)).json()) as Report;
    expect((await health()).details).toEqual({
      lifecycle: { status: 'up' },
      broker: { status: 'up', url: 'mqtt://b', state: 'connected' },
    });
    check.next = () => ({ ready: false, reason: 'no session' });
    expect(await probe('/readyz')).toEqual([503, 'not ready']);
    expect((await fetch(`${url}/health`)).status).toBe(503);
    expect(await health()).toMatchObject({ status: 'error', error: { broker: { status: 'down', reason: 'no session' } } });
  });

  it.each([
    ['throws', () => Promise.reject(new Error('boom')), 'boom'],
    // What Node gives for a refused connection to a name with two addresses.
    ['throws without a message', () => Promise.reject(Object.assign(new AggregateError([]), { code: 'ECONNREFUSED' })), 'ECONNREFUSED'],
  ])('counts a check that %s as not ready', async (_, next, reason) => {
    started();
    check.next = next;
    expect(((await (await fetch(`${url}/health`)).json()) as Report).error.broker).toEqual({ status: 'down', reason });
  });

  it('counts a check that hangs as not ready and does not start it again', async () => {
    started();
    check.next = () => new Promise(() => undefined);
    const startedAt = Date.now();
    const answers = await Promise.all([probe('/readyz'), probe('/readyz'), probe('/readyz')]);
    expect(answers).toEqual(Array(3).fill([503, 'not ready']));
    expect(Date.now() - startedAt).toBeLessThan(2500);
    expect(check.calls).toBe(1);
  });

  it('serves the metrics of the process', async () => {
    app.get(Metrics).counter({ name: 'sample_total', help: 'h' }).inc(2);
    const response = await fetch(`${url}/metrics`);
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(await response.text()).toMatch(/^sample_total 2$/m);
  });
});
