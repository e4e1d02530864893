import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import { DatabaseConnection } from '@tallystick/persistence';
import { IngestBridgeConfig } from '../ingest-bridge.config.js';
import { Receiver } from './receiver.js';
import { clientIdOf, SlotLock } from './slot-lock.js';

const TOUCH_EVERY_MS = 5_000;

/**
 * Holds a slot of the group, so that each bridge has a client id that outlives it without anybody numbering bridges. The slot is for
 * finding a name; that two processes never receive or store under one name is for the broker (session taken over) and the epoch of
 * the receiver. So a bridge whose connection here breaks goes on, and takes its slot again when it can.
 */
@Injectable()
export class SlotHolder implements OnModuleDestroy {
  private readonly logger = new Logger(SlotHolder.name);
  private lock: SlotLock | undefined;
  private slot: number | undefined;
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(
    private readonly connection: DatabaseConnection,
    private readonly config: IngestBridgeConfig,
    private readonly receiver: Receiver,
  ) {}

  /** Waits for a slot when the client id is to be claimed. `only`: that slot or none; whether it was had. */
  async claim(only?: number): Promise<boolean> {
    const group = this.config.sharedGroup;
    if (this.config.clientId !== undefined || group === undefined) return true;
    const lock = await this.connection.retry(async () => {
      const taken = await SlotLock.take(this.config.database.connectionUrl, group, only);
      if (taken === undefined && only === undefined) throw new Error(`every slot of the group ${group} is held`);
      return taken;
    });
    if (lock === undefined) return false;
    this.lock = lock;
    this.slot = lock.slot;
    this.receiver.become(clientIdOf(group, lock.slot));
    this.logger.log('receiving under the client id of a slot', { clientId: this.receiver.clientId });
    this.timer = setTimeout(() => void this.keep(), TOUCH_EVERY_MS);
    return true;
  }

  /**
   * A slot that another bridge has left for `afterS`. None before we have held ours for as long: after an outage of the database others may
   * still be about to take theirs again.
   */
  async takeAbandoned(afterS: number): Promise<number | undefined> {
    if (!this.lock || performance.now() - this.lock.heldSinceMs < afterS * 1_000) return undefined;
    return this.lock.takeAbandoned(afterS);
  }

  /** Throws when the slot is not held now, or no more: then another bridge may receive under this name. */
  async assertHeld(): Promise<void> {
    await this.held().touch();
  }

  async markDrained(): Promise<void> {
    await this.held().markDrained();
  }

  async onModuleDestroy(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.lock?.release();
  }

  private held(): SlotLock {
    if (!this.lock) throw new Error(`the slot of ${this.receiver.clientId} is lost`);
    return this.lock;
  }

  private async keep(): Promise<void> {
    try {
      if (this.lock) await this.lock.touch();
      else await this.takeAgain();
    } catch (error) {
      if (this.lock) this.logger.warn(`the slot is lost, taking it again: ${(error as Error).message}`);
      await this.lock?.release();
      this.lock = undefined;
    }
    if (!this.stopped) this.timer = setTimeout(() => void this.keep(), TOUCH_EVERY_MS);
  }

  private async takeAgain(): Promise<void> {
    const lock = await SlotLock.take(this.config.database.connectionUrl, this.config.sharedGroup!, this.slot);
    if (lock === undefined) return;
    if (this.stopped) return lock.release();
    this.lock = lock;
    this.logger.log('the slot is held again', { clientId: this.receiver.clientId });
  }
}
