import fc from 'fast-check';
import { Pace } from './pace.js';

const rate = fc.double({ min: 0.1, max: 20_000, noNaN: true });

describe('Pace', () => {
  it('lets exactly rate x time through, whenever it is asked', () => {
    fc.assert(
      fc.property(rate, fc.array(fc.double({ min: 0.1, max: 900, noNaN: true }), { minLength: 1, maxLength: 50 }), (perS, steps) => {
        const pace = new Pace(perS, 1000);
        let [now, taken] = [1000, 0];
        for (const step of steps) {
          const due = pace.due(now);
          pace.take(due);
          taken += due;
          expect(Math.abs(taken - (((now - 1000) * perS) / 1000 + 1))).toBeLessThanOrEqual(1.001);
          expect(pace.msUntilNext(now)).toBeGreaterThan(0);
          now += step;
        }
      }),
    );
  });

  it('is due when it said so', () => {
    fc.assert(
      fc.property(rate, fc.integer({ min: 1, max: 1000 }), (perS, messages) => {
        const pace = new Pace(perS, 0);
        let now = 0;
        for (let i = 0; i < messages; i++) {
          expect(pace.due(now)).toBeGreaterThanOrEqual(1);
          pace.take(1);
          now += pace.msUntilNext(now);
        }
        expect(now).toBeCloseTo((messages * 1000) / perS, 3);
      }),
    );
  });

  it('sends the first message at once and the next after an interval', () => {
    const pace = new Pace(0.1, 0);
    expect(pace.due(0)).toBe(1);
    pace.take(1);
    expect([pace.due(9_999), pace.due(10_000), pace.msUntilNext(4_000)]).toEqual([0, 1, 6_000]);
  });

  it('does not make up for more than a second of what a stall has cost', () => {
    const pace = new Pace(1_000, 0);
    pace.take(pace.due(0));
    const due = pace.due(60_000);
    expect(due).toBeGreaterThanOrEqual(1_000);
    expect(due).toBeLessThanOrEqual(1_003);
    pace.take(due);
    expect(pace.due(61_000)).toBe(1_000);
  });

  it('knows no limit for rate 0', () => {
    const pace = new Pace(0, 0);
    pace.take(1_000_000);
    expect([pace.due(0), pace.msUntilNext(0)]).toEqual([Infinity, 0]);
  });
});
