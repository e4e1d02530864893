/** What of a broker's metrics is where, as Unix ms: values of before `rolledUntilMs` are in minutes, those of its whole hours in hours. */
export interface Coverage {
  rolledUntilMs: number;
  /** Values before it have been removed. */
  rawFromMs: number;
  /** Minutes before it have been removed. */
  minutesFromMs: number;
}

/** A time of which hours are read up to `minutesFromMs`, minutes up to `rawFromMs`, and values from there on. */
export interface Sources {
  minutesFromMs: number;
  rawFromMs: number;
}

/** What the points of a series are made of: the values themselves, or what they were in a minute or hour. */
export const RESOLUTIONS = ['value', 'minute', 'hour'] as const;
export type Resolution = (typeof RESOLUTIONS)[number];

export interface SeriesPlan {
  resolution: Resolution;
  /** Beginning of the first point. */
  fromMs: number;
  /** End of the last point. */
  toMs: number;
  stepMs: number;
  /** Of the points. */
  sources: Sources;
  /** Of the heartbeats, which are looked at from long before the first point on: an hour in which nothing broke says all of its minutes. */
  heartbeatSources: Sources;
  /** From here on an hour in which something broke is looked at minute by minute. */
  brokenHoursFromMs: number;
  /** Of the value with which the series begins. */
  sourcesBefore: Sources;
}

export const MOST_POINTS = 2_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

/**
 * How a series is read in steps of `wantedMs`, or longer ones where there would be more than 2,000: of values when they are shorter than
 * a minute, of minutes when they are shorter than an hour, else of hours; of longer spans when the shorter ones have been removed. Steps
 * of minutes or hours are whole ones and begin with one. What is not rolled up yet is read from the next shorter span: every step lies
 * on both sides of such a border as a whole number of spans.
 */
export function planSeries(fromMs: number, toMs: number, wantedMs: number, coverage: Coverage): SeriesPlan {
  const spanMs = Math.max(spanOf(wantedMs), shortestKept(fromMs, coverage));
  const startMs = floor(fromMs, spanMs);
  const stepMs = Math.max(ceil(wantedMs, spanMs), ceil((toMs - startMs) / MOST_POINTS, spanMs));
  const { rolledUntilMs } = coverage;
  const upTo = (ms: number): Sources => ({
    minutesFromMs: floor(Math.min(ms, rolledUntilMs), HOUR_MS),
    rawFromMs: floor(Math.min(ms, rolledUntilMs), MINUTE_MS),
  });
  const [before, all] = [upTo(startMs), upTo(Infinity)];
  const minutesFromMs = spanMs === HOUR_MS ? all.minutesFromMs : before.minutesFromMs;
  const rawFromMs = spanMs >= MINUTE_MS ? all.rawFromMs : before.rawFromMs;
  return {
    resolution: spanMs === 1 ? 'value' : spanMs === MINUTE_MS ? 'minute' : 'hour',
    fromMs: startMs,
    toMs: startMs + ceil(toMs - startMs, stepMs),
    stepMs,
    sources: { minutesFromMs: Math.max(startMs, minutesFromMs), rawFromMs: Math.max(startMs, rawFromMs) },
    heartbeatSources: spanMs >= MINUTE_MS ? all : before,
    brokenHoursFromMs: spanMs === MINUTE_MS ? floor(startMs, HOUR_MS) : Infinity,
    sourcesBefore: before,
  };
}

function spanOf(stepMs: number): number {
  if (stepMs >= HOUR_MS) return HOUR_MS;
  return stepMs >= MINUTE_MS ? MINUTE_MS : 1;
}

function shortestKept(fromMs: number, { rawFromMs, minutesFromMs }: Coverage): number {
  if (fromMs >= rawFromMs) return 1;
  return fromMs >= minutesFromMs ? MINUTE_MS : HOUR_MS;
}

function floor(ms: number, spanMs: number): number {
  return Math.floor(ms / spanMs) * spanMs;
}

function ceil(ms: number, spanMs: number): number {
  return Math.ceil(ms / spanMs) * spanMs;
}
