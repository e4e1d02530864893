import { Problem } from './problem.js';
import { spanMs, timeRange } from './time-range.js';

const nowMs = Date.parse('2026-11-21T12:00:00Z');
const day = (text: string) => new Date(`${text}T00:00:00Z`);

describe('timeRange', () => {
  it('leaves an unbounded list open', () => expect(timeRange({}, { nowMs, bounded: false })).toEqual({}));

  it('bounds a list to the 24 hours before its end', () => {
    expect(timeRange({}, { nowMs, bounded: true }).from).toEqual(new Date('2026-11-20T12:00:00Z'));
    expect(timeRange({ to: day('2026-11-10') }, { nowMs, bounded: true }).from).toEqual(day('2026-11-09'));
    expect(timeRange({ to: new Date(5) }, { nowMs, bounded: true }).from).toEqual(new Date(0));
  });

  it('takes a range as given, also an empty one and one of the longest span', () => {
    const range = { from: day('2026-11-01'), to: day('2026-11-01') };
    expect(timeRange(range, { nowMs, bounded: true })).toEqual(range);
    expect(timeRange({ from: day('2025-11-20'), to: day('2026-11-21') }, { nowMs, bounded: true }).from).toEqual(day('2025-11-20'));
  });

  it.each([
    ['from after to', { from: day('2026-11-02'), to: day('2026-11-01') }],
    ['ten years', { from: day('2016-11-01'), to: day('2026-11-01') }],
    ['ten years until now', { from: day('2016-11-01') }],
  ])('refuses %s', (_, range) => expect(() => timeRange(range, { nowMs, bounded: false })).toThrow(Problem));
});

describe('spanMs', () => {
  it('lasts until the end, or until now, and for ever without a beginning', () => {
    expect(spanMs({ from: day('2026-11-01'), to: day('2026-11-02') }, nowMs)).toBe(86_400_000);
    expect(spanMs({ from: day('2026-11-21') }, nowMs)).toBe(12 * 3_600_000);
    expect(spanMs({ to: day('2026-11-02') }, nowMs)).toBe(Infinity);
  });
});
