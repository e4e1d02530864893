import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import { IngestBridgeConfig } from '../ingest-bridge.config.js';
import { SlotHolder } from './slot-holder.js';

const LOOK_EVERY_MS = 5_000;

/**
 * Drains the slots of bridges that do not come back. What the broker has queued for such a one is received under its name by a second
 * process, a whole bridge with its own ledger and epoch that subscribes to nothing: so what holds for a restart holds for it, and
 * a bridge that does come back in the middle ends that process and not this one.
 */
@Injectable()
export class AbandonedSlots implements OnModuleDestroy {
  private readonly logger = new Logger(AbandonedSlots.name);
  private timer: NodeJS.Timeout | undefined;
  private drainer: ChildProcess | undefined;

  constructor(
    private readonly holder: SlotHolder,
    private readonly config: IngestBridgeConfig,
  ) {}

  start(): void {
    if (this.config.clientId === undefined) this.timer = setInterval(() => void this.look(), LOOK_EVERY_MS);
  }

  async onModuleDestroy(): Promise<void> {
    clearInterval(this.timer);
    if (!this.drainer) return;
    // It stops as we do: what it has not stored stays with the broker.
    const exited = once(this.drainer, 'exit');
    if (this.drainer.connected) this.drainer.disconnect();
    await exited;
  }

  private async look(): Promise<void> {
    if (this.drainer) return;
    try {
      const slot = await this.holder.takeAbandoned(this.config.slotDrainAfterS);
      if (slot !== undefined) this.drain(slot);
    } catch (error) {
      this.logger.warn(`slots could not be looked through: ${(error as Error).message}`);
    }
  }

  private drain(slot: number): void {
    this.logger.log('a slot is without a bridge, draining it', { slot, unheldForS: this.config.slotDrainAfterS });
    const environment = { ...process.env, HOST: '127.0.0.1', PORT: '0' };
    const drainer = fork(process.argv[1]!, [`--drain=${slot}`], { env: environment });
    this.drainer = drainer;
    const ended = (failure: unknown) => {
      this.drainer = undefined;
      if (failure !== undefined) this.logger.warn('draining a slot has failed, it is tried again', { slot, failure });
    };
    drainer.once('exit', (code, signal) => ended(code === 0 ? undefined : (code ?? signal)));
    // It could not be started, for want of memory or processes; then there is no exit.
    drainer.on('error', (error) => drainer.pid === undefined && ended(error.message));
  }
}
