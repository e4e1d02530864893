import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import { DeferredAckMqttServer } from '@tallystick/mqtt';
import type { MqttClient } from 'mqtt';
import { type Advice, adviceFor } from '../diagnostics/advice.js';
import { Recorder } from '../recording/recorder.js';
import { BrokerVitals } from '../sys-metrics/broker-vitals.js';
import { METRICS_FILTERS } from '../sys-metrics/sys-metrics.controller.js';
import { BrokerStateRepository } from './broker-state.repository.js';
import { gapAfter } from './gap.js';

/** How precisely the database knows until when the watcher watched; far below the 20 s for which a broker keeps log lines. */
const KEEP_EVERY_MS = 2_000;

/** Before MQTT 5 the broker's own max_inflight_messages counts, which it does not tell; this is its default. */
const WINDOW_OF_3_1_1 = 20;

/** Knows from when to when the broker was watched, tells the recorder of gaps, and keeps what is known of the broker. */
@Injectable()
export class WatchKeeper implements OnModuleDestroy {
  private readonly logger = new Logger(WatchKeeper.name);
  private watchedUntilMs: number | undefined;
  private watchedMs = 0;
  private hasConnected = false;
  private resumed = false;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly repository: BrokerStateRepository,
    private readonly server: DeferredAckMqttServer,
    private readonly recorder: Recorder,
    private readonly vitals: BrokerVitals,
  ) {}

  /** Before the first connection. */
  async load(): Promise<void> {
    const { version, startedAtMs, uptime, watchedUntilMs } = await this.repository.read();
    Object.assign(this.vitals, { version, startedAtMs, uptime });
    this.watchedUntilMs = watchedUntilMs;
    if (version !== undefined) this.recorder.tell({ kind: 'version', text: version });
  }

  start(): void {
    // Told before the first line of the connection, and only when the session was kept.
    this.server.onResumed = (connection) => {
      this.resumed = true;
      // What was received and not stored was watched in vain.
      const unstoredFromMs = this.recorder.abandonBefore(connection) ?? Infinity;
      if (this.watchedUntilMs !== undefined) this.watchedUntilMs = Math.min(this.watchedUntilMs, unstoredFromMs);
      this.connected(Date.now());
    };
    this.server.onOffer = ({ protocolVersion }) => {
      if (protocolVersion === 4) this.recorder.windowLines = WINDOW_OF_3_1_1;
      if (this.resumed) this.askForRetained();
      else this.connected(Date.now());
      this.resumed = false;
    };
    this.timer = setInterval(() => void this.keep(), KEEP_EVERY_MS);
  }

  onModuleDestroy(): void {
    clearInterval(this.timer);
  }

  get advice(): Advice[] {
    return adviceFor({
      ...this.recorder.seen.now,
      watchedMs: this.watchedMs,
      metrics: this.vitals.uptime !== undefined,
      dropping: this.vitals.dropping,
    });
  }

  /** Stores how far the broker was watched. */
  async keep(): Promise<void> {
    // Connected and subscribed: whatever the broker logs reaches us, or waits for us.
    if (this.server.connected && this.server.problem === undefined) {
      this.watchedUntilMs = Date.now();
      this.watchedMs += KEEP_EVERY_MS;
    }
    const { version, startedAtMs, uptime } = this.vitals;
    const capabilities = { seen: this.recorder.seen.now, unknownShapes: this.recorder.unknownShapes.all, advice: this.advice };
    await this.repository
      .write({ version, startedAtMs, uptime, watchedUntilMs: this.watchedUntilMs, capabilities })
      .catch((error: Error) => this.logger.warn('the state of the broker could not be stored', { reason: error.message }));
  }

  private connected(connectedAtMs: number): void {
    const { watchedUntilMs, resumed, hasConnected, vitals } = this;
    const gap = gapAfter({ watchedUntilMs, connectedAtMs, resumed, version: vitals.version, isFirst: !hasConnected });
    this.hasConnected = true;
    if (!gap) return;
    this.recorder.tell({ kind: 'gap', gap });
    // From its end on the broker is watched: a connection that is lost at once must not be missed twice.
    this.watchedUntilMs = gap.toMs;
  }

  /** A resumed session brings no retained values, and only changed ones are published: what changed meanwhile would stay unknown. */
  private askForRetained(): void {
    const client = this.server.unwrap<MqttClient>();
    client
      .subscribeAsync(METRICS_FILTERS, { qos: 0, rh: 0 })
      .catch((error: Error) => this.logger.warn(`retained $SYS values: ${error.message}`));
  }
}
