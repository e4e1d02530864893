import { type HeartbeatBucket, metricPoints, type SeriesParts, type ValueBucket } from './metric-points.js';

const value = (startMs: number, last: number, lastMs = startMs + 5_000): ValueBucket => {
  return { startMs, min: last - 1, max: last + 1, avg: last, first: last, last, count: 2, increase: 0, lastMs };
};
const heard = (startMs: number | null, lastMs: number, brokenMs: number | null = null): HeartbeatBucket => ({ startMs, lastMs, brokenMs });

/** Six buckets of 10 s, with a heartbeat in the middle of each unless told otherwise. */
function last(parts: Partial<SeriesParts>): (string | undefined)[] {
  const starts = [0, 10_000, 20_000, 30_000, 40_000, 50_000];
  const heartbeats = starts.map((startMs) => heard(startMs, startMs + 5_000));
  const whole = { fromMs: 0, toMs: 60_000, stepMs: 10_000, toleranceMs: 10_000, before: undefined, values: [], heartbeats, ...parts };
  const points = new Map(metricPoints(whole).map((point) => [point.ts.getTime(), `${point.last} x${point.count}`]));
  return starts.map((startMs) => points.get(startMs));
}
const none = undefined;

describe('metricPoints', () => {
  it('has nothing where nothing came', () => {
    expect(last({})).toEqual([none, none, none, none, none, none]);
  });

  it('gives what came, and repeats it while the broker is heard', () => {
    expect(last({ values: [value(10_000, 7), value(40_000, 9)] })).toEqual([none, '7 x2', '7 x0', '7 x0', '9 x2', '9 x0']);
    expect(metricPoints({ fromMs: 0, toMs: 10, stepMs: 10, toleranceMs: 1, before: none, values: [value(0, 7)], heartbeats: [] })).toEqual([
      { ts: new Date(0), min: 6, max: 8, avg: 7, last: 7, count: 2 },
    ]);
  });

  it('begins with the value before it', () => {
    const before = { value: 3, atMs: -3_600_000 };
    expect(last({ before })).toEqual(['3 x0', '3 x0', '3 x0', '3 x0', '3 x0', '3 x0']);
    // A silence after it, and before the series: it may have changed meanwhile.
    expect(last({ before, heartbeats: [heard(null, -5_000, -60_000), heard(0, 5_000)] })[0]).toBe(none);
    // The silence ended with the round that it came in.
    const round = [heard(null, -5_000, -3_600_000 + 500), heard(0, 5_000)];
    expect(last({ before, heartbeats: round })[0]).toBe('3 x0');
  });

  it('leaves a gap where the broker was not heard, and until the metric comes again', () => {
    const heartbeats = [heard(0, 5_000), heard(30_000, 35_000, 35_000), heard(40_000, 45_000), heard(50_000, 55_000)];
    expect(last({ values: [value(0, 7)], heartbeats })).toEqual(['7 x2', '7 x0', none, none, none, none]);
    expect(last({ values: [value(0, 7), value(40_000, 8)], heartbeats })).toEqual(['7 x2', '7 x0', none, none, '8 x2', '8 x0']);
    // Published in the round that ended the silence, a moment before its heartbeat.
    expect(last({ values: [value(30_000, 8, 34_500)], heartbeats })).toEqual([none, none, none, '8 x2', '8 x0', '8 x0']);
  });

  it('does not carry a value over a restart within a bucket', () => {
    const heartbeats = [heard(0, 5_000), heard(10_000, 19_000, 18_000), heard(20_000, 25_000)];
    expect(last({ values: [value(10_000, 7, 12_000)], heartbeats })).toEqual([none, '7 x2', none, none, none, none]);
  });

  it('repeats nothing of a broker without heartbeats', () => {
    expect(last({ values: [value(10_000, 7)], heartbeats: [] })).toEqual([none, '7 x2', none, none, none, none]);
  });
});
