import fc from 'fast-check';
import { type Coverage, MOST_POINTS, planSeries } from './series-plan.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Some whole hour, and how far a broker is rolled up then: ten minutes before. */
const NOW = 500_000 * HOUR_MS;
const coverage: Coverage = { rolledUntilMs: NOW - 10 * MINUTE_MS, rawFromMs: NOW - 7 * DAY_MS, minutesFromMs: NOW - 90 * DAY_MS };
const plan = (fromMs: number, toMs: number, points: number, kept = coverage) =>
  planSeries(fromMs, toMs, Math.max(1_000, Math.ceil((toMs - fromMs) / points)), kept);

describe('planSeries', () => {
  it('reads values in short steps, which begin where they are asked for', () => {
    const fromMs = NOW - HOUR_MS - 12_345;
    const sources = { minutesFromMs: fromMs, rawFromMs: fromMs };
    expect(plan(fromMs, NOW, 500)).toMatchObject({ resolution: 'value', fromMs, stepMs: 7_225, sources });
  });

  it('reads minutes and hours in longer ones, which are whole, and what is not rolled up yet from what is shorter', () => {
    expect(plan(NOW - DAY_MS - 12_345, NOW, 500)).toMatchObject({
      resolution: 'minute',
      fromMs: NOW - DAY_MS - MINUTE_MS,
      stepMs: 3 * MINUTE_MS,
      sources: { minutesFromMs: NOW - DAY_MS - MINUTE_MS, rawFromMs: NOW - 10 * MINUTE_MS },
    });
    expect(plan(NOW - 30 * DAY_MS - 12_345, NOW, 500)).toMatchObject({
      resolution: 'hour',
      fromMs: NOW - 30 * DAY_MS - HOUR_MS,
      stepMs: 2 * HOUR_MS,
      sources: { minutesFromMs: NOW - HOUR_MS, rawFromMs: NOW - 10 * MINUTE_MS },
    });
  });

  it('reads what is longer where what is shorter is gone', () => {
    const [week, quarter] = [NOW - 7 * DAY_MS, NOW - 90 * DAY_MS];
    const stepOf = (fromMs: number) => plan(fromMs, fromMs + 10 * MINUTE_MS, 500).stepMs;
    expect([week, week - 1, quarter, quarter - 1].map(stepOf)).toEqual([1_200, MINUTE_MS, MINUTE_MS, HOUR_MS]);
  });

  it('has no points where there is no time between', () => {
    for (const fromMs of [NOW, NOW - 30 * DAY_MS, NOW + DAY_MS]) {
      const { fromMs: startMs, toMs, stepMs } = plan(fromMs, Math.min(fromMs, NOW), 500);
      expect([toMs <= startMs, stepMs > 0]).toEqual([true, true]);
    }
  });

  it('reads values alone of a broker that is not rolled up', () => {
    const { sources, sourcesBefore } = plan(NOW - 30 * DAY_MS, NOW, 500, { rolledUntilMs: 0, rawFromMs: 0, minutesFromMs: 0 });
    expect([sources, sourcesBefore]).toEqual([
      { minutesFromMs: NOW - 30 * DAY_MS, rawFromMs: NOW - 30 * DAY_MS },
      { minutesFromMs: 0, rawFromMs: 0 },
    ]);
  });

  it('covers all that is asked for in steps no shorter than that, at most 2,000, and no step lies across a border', () => {
    const time = fc.integer({ min: 0, max: 100 * DAY_MS }).map((agoMs) => NOW - agoMs);
    const kept = fc.record({ rolledUntilMs: time, rawFromMs: time, minutesFromMs: time });
    fc.assert(
      fc.property(
        time,
        fc.integer({ min: 0, max: 31 * DAY_MS }),
        fc.integer({ min: 1, max: 31 * DAY_MS }),
        kept,
        (fromMs, ms, wantedMs, has) => {
          const { fromMs: startMs, toMs, stepMs, sources } = planSeries(fromMs, fromMs + ms, wantedMs, has);
          expect(startMs).toBeLessThanOrEqual(fromMs);
          expect(toMs).toBeGreaterThanOrEqual(fromMs + ms);
          expect((toMs - startMs) / stepMs).toBeLessThanOrEqual(MOST_POINTS);
          expect(stepMs).toBeGreaterThanOrEqual(wantedMs);
          expect(sources.minutesFromMs).toBeLessThanOrEqual(sources.rawFromMs);
          if (sources.minutesFromMs > startMs)
            expect([startMs % HOUR_MS, stepMs % HOUR_MS, sources.minutesFromMs % HOUR_MS]).toEqual([0, 0, 0]);
          if (sources.rawFromMs > startMs)
            expect([startMs % MINUTE_MS, stepMs % MINUTE_MS, sources.rawFromMs % MINUTE_MS]).toEqual([0, 0, 0]);
        },
      ),
    );
  });
});
