import type { DeferredAckMqttServer } from '@tallystick/mqtt';
import { Metrics } from '@tallystick/observability';
import { WatcherMetrics } from '../../apps/broker-watcher/src/watcher.metrics.js';
import { BrokerWatch } from '../../apps/ingest-bridge/src/broker/broker-watch.js';
import { IngestMetrics } from '../../apps/ingest-bridge/src/ingest.metrics.js';
import type { IngestBridgeConfig } from '../../apps/ingest-bridge/src/ingest-bridge.config.js';

/** A job's series names with their labels; of a label the values that it can take, or 'any' where the declaration does not list them. */
export type ExportedMetrics = ReadonlyMap<string, ReadonlyMap<string, ReadonlySet<string> | 'any'>>;

/** What the API is to export, from changes that are made beside this one. Each goes when its declaration is asked above. */
const AWAITED_OF_API: ExportedMetrics = new Map([
  ['http_requests_total', new Map([...anyOf('method', 'route', 'status')])],
  ['http_request_duration_seconds_bucket', new Map([...anyOf('method', 'route', 'le')])],
  ['database_pool_connections', new Map([['state', new Set(['in_use', 'idle'])]])],
  ['database_pool_waiting_requests', new Map()],
  ['alerts_open', new Map([['kind', new Set(['batch_failed', 'broker_dropping', 'ingest_stalled', 'quarantine_growing'])]])],
  ['alert_looks_failed_total', new Map([...anyOf('kind')])],
  ['alert_notices_total', new Map([['result', new Set(['delivered', 'failed'])]])],
]);

/** By job of prometheus.yml. Every series exists from the start, so a registry that nothing was counted in has them all. */
export async function exportedMetrics(): Promise<ReadonlyMap<string, ExportedMetrics>> {
  const bridge = new Metrics();
  const none = () => 0;
  new IngestMetrics(bridge).watch({ connected: none, unacknowledged: none, queued: none, openBatches: none, inFlight: none });
  // It only declares its gauge and waits to be told.
  new BrokerWatch({} as DeferredAckMqttServer, {} as IngestBridgeConfig, bridge);
  const watcher = new Metrics();
  new WatcherMetrics(watcher).watch({ connected: none, unacknowledged: none, inFlight: none, openSessions: none });
  return new Map([
    ['ingest-bridge', await seriesOf(bridge)],
    ['broker-watcher', await seriesOf(watcher)],
    ['api', new Map([...(await seriesOf(new Metrics())), ...AWAITED_OF_API])],
    ['prometheus', new Map()],
  ]);
}

/** Read from the text that Prometheus reads, where a histogram is `_bucket`, `_sum` and `_count`. */
async function seriesOf({ registry }: Metrics): Promise<ExportedMetrics> {
  const metrics = new Map<string, Map<string, Set<string>>>();
  for (const [, name, labels] of (await registry.metrics()).matchAll(/^([a-z0-9_]+)(\{.*\})? \S+$/gm)) {
    const known = metrics.get(name!) ?? new Map<string, Set<string>>();
    for (const [, label, value] of (labels ?? '').matchAll(/(\w+)="([^"]*)"/g))
      known.set(label!, (known.get(label!) ?? new Set()).add(value!));
    metrics.set(name!, known);
  }
  return metrics;
}

function anyOf(...labels: string[]): [string, 'any'][] {
  return labels.map((label) => [label, 'any']);
}
