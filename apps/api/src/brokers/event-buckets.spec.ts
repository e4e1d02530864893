import fc from 'fast-check';
import { BUCKETS, bucketCount, bucketSpan, countPoints } from './event-buckets.js';

const at = (time: string) => Date.parse(`${time}Z`);
const span = bucketSpan('hour', at('2026-11-21T08:15'), at('2026-11-21T11:00'));

describe('buckets of events', () => {
  it.each([
    ['minute', '2026-11-21T08:00:59.999', '2026-11-21T08:01:00', '2026-11-21T08:00', '2026-11-21T08:01'],
    ['hour', '2026-11-21T08:15', '2026-11-21T11:00:00.001', '2026-11-21T08:00', '2026-11-21T12:00'],
    // In Berlin the clocks went back on this day.
    ['day', '2026-10-25T00:30', '2026-10-26T00:30', '2026-10-25T00:00', '2026-10-27T00:00'],
  ] as const)('of a %s are whole ones of UTC', (bucket, from, to, first, end) => {
    expect(bucketSpan(bucket, at(from), at(to))).toMatchObject({ fromMs: at(first), toMs: at(end) });
  });

  it('have a point each, with every key', () => {
    const points = countPoints(span, ['connected', 'disconnected'], [{ startMs: at('2026-11-21T09:00'), key: 'connected', count: 7 }], []);
    expect(points.map(({ ts, counts }) => [ts.toISOString().slice(11, 16), counts])).toEqual([
      ['08:00', { connected: 0, disconnected: 0 }],
      ['09:00', { connected: 7, disconnected: 0 }],
      ['10:00', { connected: 0, disconnected: 0 }],
    ]);
  });

  it.each<[string, string | null, string | null, boolean[]]>([
    ['within one', '09:10', '09:20', [false, true, false]],
    ['across two', '08:59', '09:01', [true, true, false]],
    ['of a whole one', '09:00', '10:00', [false, true, false]],
    ['without length, at a beginning', '10:00', '10:00', [false, false, true]],
    ['without length, within one', '08:30', '08:30', [true, false, false]],
    ['before all', '06:00', '08:00', [false, false, false]],
    ['without length, before all', '07:59', '07:59', [false, false, false]],
    ['behind all', '11:00', '12:00', [false, false, false]],
    ['that lasts still', '10:30', null, [false, false, true]],
    ['from ever on', null, '08:01', [true, false, false]],
    ['of always', null, null, [true, true, true]],
  ])('are incomplete where a gap lies: %s', (_, from, to, expected) => {
    const gap = { fromMs: from ? at(`2026-11-21T${from}`) : -Infinity, toMs: to ? at(`2026-11-21T${to}`) : Infinity };
    expect(countPoints(span, [], [], [gap]).map((point) => point.isIncomplete)).toEqual(expected);
  });

  it('are incomplete exactly where they share a moment with a gap', () => {
    const minute = fc.integer({ min: 0, max: 10 * 60 });
    fc.assert(
      fc.property(fc.constantFrom(...BUCKETS), minute, minute, minute, minute, (bucket, a, b, c, d) => {
        const whole = bucketSpan(bucket, Math.min(a, b) * 60_000, Math.max(a, b) * 60_000);
        const gap = { fromMs: Math.min(c, d) * 60_000, toMs: Math.max(c, d) * 60_000 };
        const points = countPoints(whole, [], [], [gap]);
        expect(points).toHaveLength(bucketCount(whole));
        for (const { ts, isIncomplete } of points) {
          const [start, end] = [ts.getTime(), ts.getTime() + whole.bucketMs];
          expect(isIncomplete).toBe(gap.fromMs < end && (gap.toMs > start || gap.fromMs >= start));
        }
      }),
    );
  });
});
