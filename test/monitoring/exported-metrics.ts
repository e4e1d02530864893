import { readFileSync } from 'node:fs';
import type { OpenAPIObject } from '@nestjs/swagger';
import type { DeferredAckMqttServer } from '@tallystick/mqtt';
import { Metrics } from '@tallystick/observability';
import { AlertNotifier } from '../../apps/api/src/alerts/alert-notifier.js';
import { AlertWatch } from '../../apps/api/src/alerts/alert-watch.js';
import { AlertSettings } from '../../apps/api/src/alerts/alert.settings.js';
import type { Database } from '../../apps/api/src/database/database.js';
import { addPoolMetrics } from '../../apps/api/src/database/pool-metrics.js';
import { HttpMetrics } from '../../apps/api/src/http/http-metrics.js';
import { WatcherMetrics } from '../../apps/broker-watcher/src/watcher.metrics.js';
import { BrokerWatch } from '../../apps/ingest-bridge/src/broker/broker-watch.js';
import { IngestMetrics } from '../../apps/ingest-bridge/src/ingest.metrics.js';
import type { IngestBridgeConfig } from '../../apps/ingest-bridge/src/ingest-bridge.config.js';

/** A job's series names with their labels; of a label the values that it can take, or 'any' where the declaration does not list them. */
export type ExportedMetrics = ReadonlyMap<string, ReadonlyMap<string, ReadonlySet<string> | 'any'>>;

/** By job of prometheus.yml. Every series exists from the start, so a registry that nothing was counted in has them all. */
export async function exportedMetrics(): Promise<ReadonlyMap<string, ExportedMetrics>> {
  const bridge = new Metrics();
  const none = () => 0;
  new IngestMetrics(bridge).watch({ connected: none, unacknowledged: none, queued: none, openBatches: none, inFlight: none });
  // It only declares its gauge and waits to be told.
  new BrokerWatch({} as DeferredAckMqttServer, {} as IngestBridgeConfig, bridge);
  const watcher = new Metrics();
  new WatcherMetrics(watcher).watch({ connected: none, unacknowledged: none, inFlight: none, openSessions: none });
  const api = new Metrics();
  addPoolMetrics(api, () => undefined);
  // Its routes are those of the document.
  new HttpMetrics(api).beginAt0(JSON.parse(readFileSync('openapi.json', 'utf8')) as OpenAPIObject);
  new AlertWatch({} as Database, new AlertSettings(), api);
  new AlertNotifier({} as Database, new AlertSettings(), api);
  return new Map([
    ['ingest-bridge', await seriesOf(bridge)],
    ['broker-watcher', await seriesOf(watcher)],
    ['api', await seriesOf(api)],
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
