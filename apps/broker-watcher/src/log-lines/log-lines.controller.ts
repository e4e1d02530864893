import { Controller } from '@nestjs/common';
import { EventPattern, Payload, Transport } from '@nestjs/microservices';
import type { ReceivedPacket } from '@tallystick/mqtt';
import { Lifecycle } from '@tallystick/observability';
import { receivedLine } from '../recording/recorded-line.js';
import { Recorder } from '../recording/recorder.js';
import { WatcherMetrics } from '../watcher.metrics.js';

export const LOG_ROUTE = 'log-lines';
export const LOG_FILTERS = ['$SYS/broker/log/#'];

/** The way in of log lines: QoS 1, acknowledged when they are stored. */
@Controller()
export class LogLinesController {
  constructor(
    private readonly recorder: Recorder,
    private readonly metrics: WatcherMetrics,
    private readonly lifecycle: Lifecycle,
  ) {}

  @EventPattern<string>(LOG_ROUTE, Transport.MQTT)
  takeAll(@Payload() packets: ReceivedPacket[]): void {
    try {
      this.metrics.countReceived(packets.length);
      this.recorder.take(packets.map(receivedLine));
    } catch (error) {
      // Nest would log this and go on, and the lines would wait for their acknowledgement for ever.
      this.lifecycle.fail(error as Error);
    }
  }
}
