/** One bucket of a metric's series in which values came. Times are Unix ms. */
export interface ValueBucket {
  startMs: number;
  min: number;
  max: number;
  avg: number;
  last: number;
  count: number;
  lastMs: number;
}

/** The broker's heartbeat (`uptime`) in one bucket; of all that came before the series when `startMs` is null. */
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
 * The points of a series. A broker publishes only what has changed, so a bucket without a value repeats the last one (with count 0)
 * as long as heartbeats come. While none come there is no point, nor after that until the metric is published again.
 */
export function metricPoints({ fromMs, toMs, stepMs, toleranceMs, before, values, heartbeats }: SeriesParts): MetricPoint[] {
  const valuesAt = new Map(values.map((bucket) => [bucket.startMs, bucket]));
  const heartbeatsAt = new Map(heartbeats.map((bucket) => [bucket.startMs, bucket]));
  let heardMs = heartbeatsAt.get(null)?.lastMs ?? -Infinity;
  let held = unlessBroken(before, heartbeatsAt.get(null));
  const points: MetricPoint[] = [];
  for (let startMs = fromMs; startMs < toMs; startMs += stepMs) {
    const own = valuesAt.get(startMs);
    const heartbeat = heartbeatsAt.get(startMs);
    heardMs = heartbeat?.lastMs ?? heardMs;
    if (heardMs < startMs - toleranceMs) held = undefined;
    held = unlessBroken(own ? { value: own.last, atMs: own.lastMs } : held, heartbeat);
    const ts = new Date(startMs);
    if (own) points.push({ ts, min: own.min, max: own.max, avg: own.avg, last: own.last, count: own.count });
    else if (held) points.push({ ts, min: held.value, max: held.value, avg: held.value, last: held.value, count: 0 });
  }
  return points;
}

function unlessBroken<T extends { atMs: number }>(held: T | undefined, heartbeat: HeartbeatBucket | undefined): T | undefined {
  const brokenMs = heartbeat?.brokenMs ?? -Infinity;
  return held && held.atMs >= brokenMs - ONE_ROUND_MS ? held : undefined;
}
