/** One step of a metric's series in which values came. Times are Unix ms. */
export interface ValueBucket {
  startMs: number;
  min: number;
  max: number;
  avg: number;
  first: number;
  last: number;
  count: number;
  /** By how much the values rose from the first to the last, each fall taken for a counter that began anew at 0. */
  increase: number;
  lastMs: number;
}

/** The broker's heartbeat (`uptime`) in one step; of all that came before the series when `startMs` is null. */
export interface HeartbeatBucket {
  startMs: number | null;
  lastMs: number;
  /** The last heartbeat that followed a silence or a restart: what was known before is not known any more. */
  brokenMs: number | null;
}

export interface SeriesParts {
  fromMs: number;
  toMs: number;
  stepMs: number;
  /** A longer time without a heartbeat is a gap. */
  toleranceMs: number;
  /** The last value before the series. */
  before: { value: number; atMs: number } | undefined;
  values: readonly ValueBucket[];
  heartbeats: readonly HeartbeatBucket[];
}

/** One step of a series, with what is known at its two ends. */
export interface SeriesStep {
  startMs: number;
  /** What came in it. */
  own: ValueBucket | undefined;
  /** The value at its beginning; undefined when it lies in a gap. */
  atStart: number | undefined;
  /** The value that goes on from its end, unless a gap follows. */
  atEnd: number | undefined;
  /** The last heartbeat before its end. */
  heardMs: number;
}

export interface MetricPoint {
  ts: Date;
  min: number;
  max: number;
  avg: number;
  last: number;
  count: number;
}

/** Values of one round of $SYS come within this time, in any order. */
const ONE_ROUND_MS = 2_000;

/**
 * The steps of a series, in order. A broker publishes only what has changed, so a value holds as long as heartbeats come. Once none
 * come, or after a restart, the value is not known until the metric is published again.
 */
export function* seriesSteps({ fromMs, toMs, stepMs, toleranceMs, before, values, heartbeats }: SeriesParts): Generator<SeriesStep> {
  const valuesAt = new Map(values.map((bucket) => [bucket.startMs, bucket]));
  const heartbeatsAt = new Map(heartbeats.map((bucket) => [bucket.startMs, bucket]));
  let heardMs = heartbeatsAt.get(null)?.lastMs ?? -Infinity;
  let held = unlessBroken(before, heartbeatsAt.get(null));
  for (let startMs = fromMs; startMs < toMs; startMs += stepMs) {
    const own = valuesAt.get(startMs);
    const heartbeat = heartbeatsAt.get(startMs);
    const atStart = heardMs < startMs - toleranceMs ? undefined : held?.value;
    heardMs = heartbeat?.lastMs ?? heardMs;
    if (heardMs < startMs - toleranceMs) held = undefined;
    held = unlessBroken(own ? { value: own.last, atMs: own.lastMs } : held, heartbeat);
    yield { startMs, own, atStart, atEnd: held?.value, heardMs };
  }
}

/** What was measured: a step without a value repeats the last one, with count 0. One in which none is known has no point. */
export function metricPoints(parts: SeriesParts): MetricPoint[] {
  const points: MetricPoint[] = [];
  for (const { startMs, own, atEnd } of seriesSteps(parts)) {
    const ts = new Date(startMs);
    if (own) points.push({ ts, min: own.min, max: own.max, avg: own.avg, last: own.last, count: own.count });
    else if (atEnd !== undefined) points.push({ ts, min: atEnd, max: atEnd, avg: atEnd, last: atEnd, count: 0 });
  }
  return points;
}

function unlessBroken<T extends { atMs: number }>(held: T | undefined, heartbeat: HeartbeatBucket | undefined): T | undefined {
  const brokenMs = heartbeat?.brokenMs ?? -Infinity;
  return held && held.atMs >= brokenMs - ONE_ROUND_MS ? held : undefined;
}
