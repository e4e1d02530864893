import { Injectable } from '@nestjs/common';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** Label names with every value they can take. Never a client, topic or device: each new one would be a new series. */
export type LabelValues<L extends string> = Readonly<Record<L, readonly string[]>>;

export interface MetricDeclaration<L extends string> {
  /** snake_case with the base unit as suffix; counters end with `_total`. */
  name: string;
  help: string;
  labels?: LabelValues<L>;
}

/** The metrics of this process. Every series exists at 0 from the start, so that `rate()` sees the first event. */
@Injectable()
export class Metrics {
  readonly registry = new Registry();

  constructor() {
    collectDefaultMetrics({ register: this.registry });
  }

  counter<L extends string = never>({ name, help, labels }: MetricDeclaration<L>): Counter<L> {
    const counter = new Counter<L>({ name, help, labelNames: labelNames(labels), registers: [this.registry] });
    for (const values of combinations(labels)) counter.inc(values, 0);
    return counter;
  }

  /** With `collect`, the value is read when Prometheus asks. */
  gauge<L extends string = never>({
    name,
    help,
    labels,
    collect,
  }: MetricDeclaration<L> & { collect?: (gauge: Gauge<L>) => void | Promise<void> }): Gauge<L> {
    const gauge = new Gauge<L>({
      name,
      help,
      labelNames: labelNames(labels),
      registers: [this.registry],
      ...(collect && {
        collect(this: Gauge<L>) {
          return collect(this);
        },
      }),
    });
    for (const values of combinations(labels)) gauge.set(values, 0);
    return gauge;
  }

  /** `buckets` are upper bounds in the metric's base unit, ascending. */
  histogram<L extends string = never>({
    name,
    help,
    labels,
    buckets,
  }: MetricDeclaration<L> & { buckets: readonly number[] }): Histogram<L> {
    const histogram = new Histogram<L>({ name, help, labelNames: labelNames(labels), buckets: [...buckets], registers: [this.registry] });
    for (const values of combinations(labels)) histogram.zero(values);
    return histogram;
  }
}

function labelNames<L extends string>(labels?: LabelValues<L>): L[] {
  return Object.keys(labels ?? {}) as L[];
}

/** Every combination of label values; none for a metric without labels, whose one series prom-client makes itself. */
export function combinations<L extends string>(labels?: LabelValues<L>): Record<L, string>[] {
  const names = labelNames(labels);
  if (!labels || names.length === 0) return [];
  return names.reduce<Record<L, string>[]>(
    (made, name) => made.flatMap((partial) => labels[name].map((value) => ({ ...partial, [name]: value }))),
    [{} as Record<L, string>],
  );
}
