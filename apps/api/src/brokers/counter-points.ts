import { type SeriesParts, seriesSteps, type SeriesStep } from './metric-points.js';

/** What a Mosquitto, 1.6 to 2.1, counts from its start on (src/sys_tree.c); all else that it publishes goes up and down, or is a maximum. */
const COUNTERS: ReadonlySet<string> = new Set([
  'bytes/received',
  'bytes/sent',
  'clients/expired',
  'messages/received',
  'messages/sent',
  'publish/bytes/received',
  'publish/bytes/sent',
  'publish/messages/dropped',
  'publish/messages/received',
  'publish/messages/sent',
]);

export function isCounter(metric: string): boolean {
  return COUNTERS.has(metric);
}

export interface DeltaPoint {
  ts: Date;
  delta: number;
  includesGap: boolean;
}

export interface RatePoint {
  ts: Date;
  /** Per second. */
  rate: number;
}

/**
 * By how much a counter rose in each step. A rise belongs to the step in which the higher value came, so that steps add up to the whole,
 * however it is cut. After a gap that is what it rose in the gap too: when in the gap that was is not known, and nothing is spread over
 * it. Steps within a gap have no point.
 */
export function deltaPoints(parts: SeriesParts): DeltaPoint[] {
  return increases(parts).map(({ step, delta, isFirst }) => {
    return { ts: new Date(step.startMs), delta, includesGap: step.own !== undefined && step.atStart === undefined && !isFirst };
  });
}

/**
 * The same by time: only of steps that are over, and of which the counter is known at both ends. `nowMs` is Unix ms.
 */
export function ratePoints(parts: SeriesParts, nowMs: number): RatePoint[] {
  const isWhole = ({ startMs, atStart, heardMs }: SeriesStep) => {
    const endMs = startMs + parts.stepMs;
    return atStart !== undefined && heardMs >= endMs - parts.toleranceMs && endMs <= nowMs;
  };
  return increases(parts)
    .filter(({ step }) => isWhole(step))
    .map(({ step, delta }) => ({ ts: new Date(step.startMs), rate: delta / (parts.stepMs / 1_000) }));
}

interface Increase {
  step: SeriesStep;
  delta: number;
  /** No value of the metric came before those of the step. */
  isFirst: boolean;
}

/** The steps of which it can be said how much the counter rose. */
function increases(parts: SeriesParts): Increase[] {
  const found: Increase[] = [];
  let last = parts.before?.value;
  for (const step of seriesSteps(parts)) {
    if (step.own) {
      const { own } = step;
      found.push({ step, delta: rise(own.first, last) + own.increase, isFirst: last === undefined });
      last = own.last;
    } else if (step.atEnd !== undefined) found.push({ step, delta: 0, isFirst: false });
  }
  return found;
}

/** A counter that fell began anew at 0, as `counterRise` has it for the values within a step. */
function rise(value: number, before: number | undefined): number {
  if (before === undefined) return 0;
  return value < before ? value : value - before;
}
