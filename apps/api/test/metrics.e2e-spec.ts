import { until } from '@tallystick/testing';
import { Api } from './api.js';
import { operationsOf } from './documented.js';

describe('metrics of the API', () => {
  let api: Api;
  const lines = async () => (await (await fetch(`${api.app.url}/metrics`)).text()).split('\n');
  const value = async (series: string) => {
    const line = (await lines()).find((candidate) => candidate.startsWith(`${series} `));
    return line === undefined ? undefined : Number(line.split(' ').at(-1));
  };

  beforeAll(async () => {
    api = await Api.start();
  });
  afterAll(() => api.stop());

  it('has a series at 0 for each route and status that is documented', async () => {
    const known = await lines();
    for (const { method, path, operation } of await operationsOf(api.app.url)) {
      for (const status of Object.keys(operation.responses))
        expect(known).toContain(`http_requests_total{method="${method}",route="${path}",status="${status}"} 0`);
      expect(known).toContain(`http_request_duration_seconds_count{method="${method}",route="${path}"} 0`);
    }
    expect(known).toContain('http_requests_total{method="GET",route="unknown",status="404"} 0');
  });

  it('counts each request under its route, never under the path that was asked for', async () => {
    for (const [path, method, status, series] of [
      ['/api/v1/batches', 'GET', 200, { method: 'GET', route: '/api/v1/batches' }],
      ['/api/v1/batches?stauts=1', 'GET', 400, { method: 'GET', route: '/api/v1/batches' }],
      ['/api/v1/batches/not-a-uuid', 'GET', 400, { method: 'GET', route: '/api/v1/batches/{batchId}' }],
      ['/api/v1/brokers/gone/metrics/x/series', 'GET', 404, { method: 'GET', route: '/api/v1/brokers/{broker}/metrics/{metric}/series' }],
      ['/api/v1/batches', 'HEAD', 200, { method: 'HEAD', route: '/api/v1/batches' }],
      ['/nowhere/at/all', 'GET', 404, { method: 'GET', route: 'unknown' }],
      ['/nowhere?x=%ZZ', 'GET', 400, { method: 'GET', route: 'unknown' }],
      ['/nowhere', 'PROPFIND', 404, { method: 'other', route: 'unknown' }],
    ] as const) {
      const labels = `method="${series.method}",route="${series.route}"`;
      const total = `http_requests_total{${labels},status="${status}"}`;
      const seconds = `http_request_duration_seconds_count{${labels}}`;
      const before = [(await value(total)) ?? 0, (await value(seconds)) ?? 0];
      const answer = await api.fetch(path, { method });
      await answer.arrayBuffer();
      expect(answer.status).toBe(status);
      // It is counted when the answer is out, which the client may learn sooner.
      await until(async () => (await value(total)) === before[0]! + 1 && (await value(seconds)) === before[1]! + 1);
    }
    expect((await lines()).filter((line) => /nowhere|not-a-uuid|gone|PROPFIND/.test(line))).toEqual([]);
  });

  it('tells a client that went before its answer from one that had it', async () => {
    await api.sql.query('BEGIN; LOCK TABLE devices IN ACCESS EXCLUSIVE MODE');
    const leave = new AbortController();
    const left = api.fetch('/api/v1/devices', { signal: leave.signal }).catch(() => undefined);
    await until(async () => ((await value('database_pool_connections{state="in_use"}')) ?? 0) > 0);
    leave.abort();
    await left;
    await until(async () => (await value('http_requests_total{method="GET",route="/api/v1/devices",status="aborted"}')) === 1);
    await api.sql.query('ROLLBACK');
  });

  it('shows the pool', async () => {
    await api.ask('/api/v1/batches');
    await until(async () => (await value('database_pool_connections{state="in_use"}')) === 0);
    expect(await value('database_pool_connections{state="idle"}')).toBeGreaterThan(0);
    expect(await value('database_pool_waiting_requests')).toBe(0);
  });
});
