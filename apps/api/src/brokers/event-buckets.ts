/** Times that follow one another. All begin where they do in UTC, whose days have 24 hours all year. */
export const BUCKETS = ['minute', 'hour', 'day'] as const;
export type Bucket = (typeof BUCKETS)[number];

export const MOST_BUCKETS = 2_000;

const BUCKET_MS: Readonly<Record<Bucket, number>> = { minute: 60_000, hour: 3_600_000, day: 86_400_000 };

/** Unix ms, half-open, from the beginning of a bucket to the end of one. */
export interface BucketSpan {
  fromMs: number;
  toMs: number;
  bucketMs: number;
}

/** The buckets that share a moment with [fromMs, toMs). */
export function bucketSpan(bucket: Bucket, fromMs: number, toMs: number): BucketSpan {
  const bucketMs = BUCKET_MS[bucket];
  const firstMs = Math.floor(fromMs / bucketMs) * bucketMs;
  return { fromMs: firstMs, toMs: fromMs < toMs ? Math.ceil(toMs / bucketMs) * bucketMs : firstMs, bucketMs };
}

export function bucketCount({ fromMs, toMs, bucketMs }: BucketSpan): number {
  return (toMs - fromMs) / bucketMs;
}

/** How much of one kind there was in one bucket; nothing where none is given. */
export interface Counted {
  startMs: number;
  key: string;
  count: number;
}

/** Unix ms, half-open; one without length is a moment. */
export interface Unobserved {
  fromMs: number;
  toMs: number;
}

export interface CountPoint {
  ts: Date;
  isIncomplete: boolean;
  counts: Record<string, number>;
}

/** A point for every bucket, with every key; what was not observed makes the buckets that it touches incomplete. */
export function countPoints(
  span: BucketSpan,
  keys: readonly string[],
  counted: readonly Counted[],
  unobserved: readonly Unobserved[],
): CountPoint[] {
  const zeros = Object.fromEntries(keys.map((key) => [key, 0]));
  const points = Array.from({ length: bucketCount(span) }, (_, index) => ({
    ts: new Date(span.fromMs + index * span.bucketMs),
    isIncomplete: false,
    counts: { ...zeros },
  }));
  for (const { startMs, key, count } of counted) points[(startMs - span.fromMs) / span.bucketMs]!.counts[key] = count;
  const place = (ms: number) => (ms - span.fromMs) / span.bucketMs;
  for (const { fromMs, toMs } of unobserved) {
    const first = Math.floor(place(fromMs));
    const end = toMs > fromMs ? Math.ceil(place(toMs)) : first + 1;
    for (const point of points.slice(Math.max(0, first), Math.max(0, end))) point.isIncomplete = true;
  }
  return points;
}
