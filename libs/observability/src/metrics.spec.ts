import { combinations, Metrics } from './metrics.js';

describe('Metrics', () => {
  it('has every series at 0 from the start', async () => {
    const metrics = new Metrics();
    metrics.counter({ name: 'processed_total', help: 'h', labels: { result: ['stored', 'rejected'] } });
    metrics.counter({ name: 'plain_total', help: 'h' });
    metrics.gauge({ name: 'open', help: 'h', labels: { lane: ['0', '1'] } });
    metrics.histogram({ name: 'write_seconds', help: 'h', buckets: [0.1, 1], labels: { table: ['messages'] } });
    const text = await metrics.registry.metrics();
    for (const line of [
      'processed_total{result="stored"} 0',
      'processed_total{result="rejected"} 0',
      'plain_total 0',
      'open{lane="1"} 0',
      'write_seconds_bucket{le="+Inf",table="messages"} 0',
      'write_seconds_count{table="messages"} 0',
    ]) {
      expect(text.split('\n')).toContain(line);
    }
    expect(text).toContain('process_cpu_seconds_total');
  });

  it('reads a collected gauge when asked', async () => {
    const metrics = new Metrics();
    let value = 1;
    metrics.gauge({ name: 'pool_size', help: 'h', collect: (gauge) => gauge.set(value) });
    value = 7;
    expect(await metrics.registry.getSingleMetricAsString('pool_size')).toContain('pool_size 7');
  });

  it('combines labels', () => {
    expect(combinations({ a: ['1', '2'], b: ['x', 'y'] })).toHaveLength(4);
    expect(combinations()).toEqual([]);
    expect(combinations({})).toEqual([]);
  });
});
