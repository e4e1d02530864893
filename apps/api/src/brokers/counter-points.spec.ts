import fc from 'fast-check';
import { deltaPoints, isCounter, ratePoints } from './counter-points.js';
import { type HeartbeatBucket, metricPoints, type SeriesParts, type ValueBucket } from './metric-points.js';

const ROUND_MS = 10_000;
const TOLERANCE_MS = 30_000;

interface Heard {
  /** Times (Unix ms) in order. */
  beats: { atMs: number; isBroken: boolean }[];
  values: { atMs: number; value: number }[];
}

/** By how much a counter rose from one value to the next; the definition that steps are to add up to. */
const rise = (value: number, before: number) => (value < before ? value : value - before);
const sum = (numbers: number[]) => numbers.reduce((total, each) => total + each, 0);

/** What the database gives of all that was heard, for steps of `stepMs`. */
function partsOf({ beats, values }: Heard, fromMs: number, toMs: number, stepMs: number): SeriesParts {
  const startOf = (atMs: number) => (atMs < fromMs ? null : fromMs + Math.floor((atMs - fromMs) / stepMs) * stepMs);
  const endMs = fromMs + Math.ceil((toMs - fromMs) / stepMs) * stepMs;
  const before = values.filter(({ atMs }) => atMs < fromMs).at(-1);
  const buckets = new Map<number, ValueBucket>();
  for (const { atMs, value } of values.filter((each) => each.atMs >= fromMs && each.atMs < endMs)) {
    const startMs = startOf(atMs)!;
    const bucket = buckets.get(startMs) ?? {
      ...{ startMs, min: value, max: value, avg: value, first: value, last: value },
      count: 0,
      increase: 0,
      lastMs: 0,
    };
    const increase = bucket.increase + rise(value, bucket.last);
    buckets.set(startMs, { ...bucket, last: value, count: bucket.count + 1, increase, lastMs: atMs });
  }
  const heartbeats = new Map<number | null, HeartbeatBucket>();
  for (const { atMs, isBroken } of beats.filter((each) => each.atMs < endMs)) {
    const startMs = startOf(atMs);
    const brokenMs = isBroken ? atMs : (heartbeats.get(startMs)?.brokenMs ?? null);
    heartbeats.set(startMs, { startMs, lastMs: atMs, brokenMs });
  }
  return {
    ...{ fromMs, toMs: endMs, stepMs, toleranceMs: TOLERANCE_MS, before },
    ...{ values: [...buckets.values()], heartbeats: [...heartbeats.values()] },
  };
}

/** A broker that counts, in rounds of 10 s: it rises, is restarted, and is not heard for a while. Silences are rounds from, and how many. */
const life = fc
  .record({
    rises: fc.array(fc.nat({ max: 50 }), { minLength: 2, maxLength: 120 }),
    restarts: fc.array(fc.nat({ max: 119 }), { maxLength: 4 }),
    silences: fc.array(fc.tuple(fc.nat({ max: 119 }), fc.integer({ min: 1, max: 30 })), { maxLength: 4 }),
  })
  .map(({ rises, restarts, silences }): Heard => {
    const heard: Heard = { beats: [], values: [] };
    let [value, published, isRestarted] = [1_000, NaN, false];
    for (const [round, by] of rises.entries()) {
      const atMs = round * ROUND_MS + 1_000;
      if (restarts.includes(round)) [value, published, isRestarted] = [0, NaN, true];
      value += by;
      if (silences.some(([from, rounds]) => round >= from && round < from + rounds)) {
        published = NaN;
        continue;
      }
      const lastMs = heard.beats.at(-1)?.atMs ?? atMs;
      heard.beats.push({ atMs, isBroken: isRestarted || atMs - lastMs > TOLERANCE_MS });
      // Only what has changed is published, and to who connects anew, all.
      if (value !== published) heard.values.push({ atMs: atMs + (round % 3) * 100, value });
      [published, isRestarted] = [value, false];
    }
    return heard;
  });
const END_MS = 121 * ROUND_MS;
const stepMs = fc.integer({ min: 1_000, max: 400_000 });
const deltas = (parts: SeriesParts) => deltaPoints(parts).map(({ delta }) => delta);

describe('deltaPoints', () => {
  it('add up to the whole increase, whatever the steps and the cuts are, and in whatever order rows come', () => {
    fc.assert(
      fc.property(life, stepMs, stepMs, fc.nat({ max: END_MS }), fc.boolean(), (heard, one, another, cutMs, isReversed) => {
        const whole = sum(heard.values.slice(1).map(({ value }, at) => rise(value, heard.values[at]!.value)));
        const parts = partsOf(heard, 0, END_MS, one);
        const rows = isReversed ? { values: parts.values.toReversed(), heartbeats: parts.heartbeats.toReversed() } : {};
        expect(sum(deltas({ ...parts, ...rows }))).toBe(whole);
        // Cut in two, at the end of a step of the first part, with other steps in the second.
        const first = partsOf(heard, 0, cutMs, one);
        expect(sum(deltas(first)) + sum(deltas(partsOf(heard, first.toMs, Math.max(first.toMs, END_MS), another)))).toBe(whole);
      }),
      { numRuns: 1_000 },
    );
  });

  it('have no point where the values have none, are never negative, and say where a gap is in them', () => {
    fc.assert(
      fc.property(life, stepMs, (heard, step) => {
        const parts = partsOf(heard, 0, END_MS, step);
        const points = deltaPoints(parts);
        expect(points.map(({ ts }) => ts)).toEqual(metricPoints(parts).map(({ ts }) => ts));
        for (const { ts, delta, includesGap } of points) {
          expect(delta).toBeGreaterThanOrEqual(0);
          const heardBefore = heard.beats.filter(({ atMs }) => atMs < ts.getTime());
          const isSilent = heardBefore.length > 0 && heardBefore.at(-1)!.atMs < ts.getTime() - TOLERANCE_MS;
          if (isSilent) expect(includesGap).toBe(true);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  const beats = (roundsHeard: number[], broken: number[] = []) =>
    roundsHeard.map((round) => ({ atMs: round * ROUND_MS, isBroken: broken.includes(round) }));
  const values = (...pairs: [number, number][]) => pairs.map(([round, value]) => ({ atMs: round * ROUND_MS, value }));
  const shown = (heard: Heard) =>
    deltaPoints(partsOf(heard, 0, 10 * ROUND_MS, ROUND_MS)).map(({ ts, delta, includesGap }) => {
      return `${ts.getTime() / ROUND_MS}: ${delta}${includesGap ? ' with a gap' : ''}`;
    });

  it('count from 0 after a restart', () => {
    const heard = { beats: beats([0, 1, 2, 3, 4], [2]), values: values([0, 100], [1, 130], [2, 7], [3, 9]) };
    expect(shown(heard).slice(0, 5)).toEqual(['0: 0', '1: 30', '2: 7', '3: 2', '4: 0']);
  });

  it('leave a gap empty, and give what it rose in the gap to the step that ends it', () => {
    const heard = { beats: beats([0, 1, 8, 9], [8]), values: values([0, 100], [1, 130], [8, 200]) };
    expect(shown(heard)).toEqual(['0: 0', '1: 30', '2: 0', '3: 0', '4: 0', '8: 70 with a gap', '9: 0']);
  });

  it('know nothing of before the first value', () => {
    expect(shown({ beats: beats([0, 1, 2]), values: values([1, 5_000], [2, 5_001]) }).slice(0, 2)).toEqual(['1: 0', '2: 1']);
  });
});

describe('ratePoints', () => {
  const NEVER = Infinity;

  it('are the deltas by time, of steps that the broker was heard at both ends of', () => {
    fc.assert(
      fc.property(life, stepMs, (heard, step) => {
        const parts = partsOf(heard, 0, END_MS, step);
        const byStart = new Map(deltaPoints(parts).map((point) => [point.ts.getTime(), point]));
        for (const { ts, rate } of ratePoints(parts, NEVER)) {
          const point = byStart.get(ts.getTime())!;
          expect(point.includesGap).toBe(false);
          expect(rate).toBeCloseTo(point.delta / (step / 1_000), 6);
          for (const endMs of [ts.getTime(), ts.getTime() + step]) {
            const lastMs = heard.beats.filter(({ atMs }) => atMs < endMs).at(-1)?.atMs ?? -Infinity;
            expect(lastMs).toBeGreaterThanOrEqual(endMs - TOLERANCE_MS);
          }
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it('are those of a steady broker all along, and of steps that are over', () => {
    const rounds = Array.from({ length: 61 }, (_, round) => round * ROUND_MS);
    const heard = {
      beats: rounds.map((atMs) => ({ atMs, isBroken: false })),
      values: rounds.map((atMs, round) => ({ atMs, value: round * 25 })),
    };
    const rates = (nowMs: number) => ratePoints(partsOf(heard, 60_000, 600_000, 60_000), nowMs).map(({ rate }) => rate);
    expect(rates(NEVER)).toEqual(Array.from({ length: 9 }, () => 2.5));
    expect(rates(179_999)).toEqual([2.5]);
    expect(rates(180_000)).toEqual([2.5, 2.5]);
  });
});

describe('isCounter', () => {
  it.each([
    ['publish/messages/received', true],
    ['clients/expired', true],
    ['clients/connected', false],
    ['clients/maximum', false],
    ['messages/stored', false],
    ['load/messages/received/1min', false],
    ['uptime', false],
    ['connection/bridge/state', false],
  ])('%s: %s', (metric, expected) => expect(isCounter(metric)).toBe(expected));
});
