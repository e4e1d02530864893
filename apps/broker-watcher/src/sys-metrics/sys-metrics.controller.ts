import { Controller } from '@nestjs/common';
import { EventPattern, Payload, Transport } from '@nestjs/microservices';
import { DeferredAckMqttServer, type ReceivedPacket } from '@tallystick/mqtt';
import { Lifecycle } from '@tallystick/observability';
import { Recorder } from '../recording/recorder.js';
import { WatcherMetrics } from '../watcher.metrics.js';
import { BrokerVitals } from './broker-vitals.js';
import { MetricsWriter } from './metrics-writer.js';
import { type SysValue, sysValue } from './sys-value.js';

export const METRICS_ROUTE = 'sys-metrics';

/**
 * Everything below `$SYS/broker/` but `log`, level by level: with `$SYS/broker/#` the log would come twice, since brokers answer
 * overlapping subscriptions with a copy for each.
 */
export const METRICS_FILTERS = [
  '$SYS/broker/+',
  ...['clients', 'messages', 'store', 'subscriptions', 'shared_subscriptions', 'retained messages', 'heap', 'publish', 'bytes', 'load'],
  ...['packet', 'connections', 'connection'],
].map((name) => (name.startsWith('$') ? name : `$SYS/broker/${name}/#`));

const UPTIME = 'uptime';
const CONNECTED = 'clients/connected';
const DROPPED = 'publish/messages/dropped';

/** The way in of metrics: QoS 0, each value as it is published, the retained ones at every connection. */
@Controller()
export class SysMetricsController {
  constructor(
    private readonly writer: MetricsWriter,
    private readonly vitals: BrokerVitals,
    private readonly recorder: Recorder,
    private readonly server: DeferredAckMqttServer,
    private readonly metrics: WatcherMetrics,
    private readonly lifecycle: Lifecycle,
  ) {}

  @EventPattern<string>(METRICS_ROUTE, Transport.MQTT)
  takeAll(@Payload() packets: ReceivedPacket[]): void {
    try {
      for (const packet of packets) this.take(packet);
      // Left over from a subscription of an earlier version: nothing is promised for these.
      const owed = packets.filter(({ receipt }) => receipt !== undefined);
      if (owed.length > 0) this.server.acknowledge(owed.map(({ receipt }) => receipt));
    } catch (error) {
      this.lifecycle.fail(error as Error);
    }
  }

  private take({ topic, payload, receivedAtMs, retained }: ReceivedPacket): void {
    const value = sysValue(topic, payload);
    if (value.kind !== 'number') return this.takeOther(value);
    const { metric } = value;
    this.writer.take({ metric, value: value.value, receivedAtMs });
    if (metric === UPTIME) this.noteUptime(value.value, receivedAtMs, retained);
    if (metric === DROPPED && this.vitals.noteDropped(value.value)) this.recorder.brokerDropped();
    if (metric === CONNECTED) this.vitals.connectedClients = value.value;
    // Told each time, and the connections only when they have changed: what was recorded since is seen then.
    if ((metric === UPTIME || metric === CONNECTED) && this.vitals.connectedClients !== undefined)
      this.metrics.showClients(this.vitals.connectedClients, this.recorder.openSessions);
  }

  private takeOther(value: Exclude<SysValue, { kind: 'number' }>): void {
    this.metrics.countValues(value.kind);
    if (value.kind !== 'text' || value.metric !== 'version') return;
    this.vitals.version = value.text;
    this.recorder.tell({ kind: 'version', text: value.text });
  }

  private noteUptime(uptimeS: number, atMs: number, retained: boolean): void {
    const startedAtMs = this.vitals.noteUptime({ uptimeS, atMs, retained });
    if (startedAtMs !== undefined) this.recorder.tell({ kind: 'restart', startedAtMs });
  }
}
