import fc from 'fast-check';
import { loadAt, loadHours } from './load-curve.js';

const HOUR_MS = 3_600_000;
const time = fc.integer({ min: Date.UTC(2000, 0), max: Date.UTC(2100, 0) });
const at = (text: string) => loadAt(Date.parse(text));

describe('load curve', () => {
  it('is high on a workday morning, lower at lunch, low at night and on a Sunday', () => {
    expect(at('2026-11-23T10:30:00Z')).toBeGreaterThan(0.85); // a Monday
    expect(at('2026-11-23T12:00:00Z')).toBeLessThan(0.7);
    expect(at('2026-11-23T03:00:00Z')).toBeLessThan(0.2);
    expect(at('2026-11-22T10:30:00Z')).toBeLessThan(0.3);
  });

  it('is a share of the rated power and has no jumps', () => {
    fc.assert(
      fc.property(time, (ms) => {
        expect(loadAt(ms)).toBeGreaterThan(0);
        expect(loadAt(ms)).toBeLessThan(1);
        expect(Math.abs(loadAt(ms + 60_000) - loadAt(ms))).toBeLessThan(0.02);
      }),
    );
  });

  it('has loadHours as its integral', () => {
    fc.assert(
      fc.property(time, fc.integer({ min: 1, max: 200 * 60 }), (ms, minutes) => {
        let sum = 0;
        for (let minute = 0; minute < minutes; minute++) sum += loadAt(ms + (minute + 0.5) * 60_000) / 60;
        expect(loadHours(ms + minutes * 60_000) - loadHours(ms)).toBeCloseTo(sum, 3);
      }),
      { numRuns: 20 },
    );
  });

  it('rises over the end of a week', () => {
    const monday = Date.parse('2026-11-23T00:00:00Z');
    expect(loadHours(monday) - loadHours(monday - HOUR_MS)).toBeCloseTo((loadAt(monday) + loadAt(monday - HOUR_MS)) / 2, 6);
    expect(loadHours(monday + 1)).toBeGreaterThan(loadHours(monday));
  });
});
