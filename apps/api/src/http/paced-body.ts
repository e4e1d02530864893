import type { Response } from 'express';

/** How long a client may take nothing of an answer that lasts (STALL_LIMIT_S), in ms. */
export const STALL_LIMIT = Symbol('STALL_LIMIT');

/**
 * The body of an answer that is written for as long as the client takes it: at most one text and what the socket holds are in
 * memory. A client that takes nothing for `stallMs` is cut off.
 */
export class PacedBody {
  /** Whether it was us who ended it, the client having stopped to read. */
  isStalled = false;

  constructor(
    private readonly response: Response,
    private readonly stallMs: number,
  ) {}

  /** False: the client is gone, and nothing more is to be written. */
  async write(text: string): Promise<boolean> {
    if (this.response.destroyed || this.response.writableEnded) return false;
    return this.response.write(text) || this.drained();
  }

  private drained(): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = (isOpen: boolean) => {
        clearTimeout(patience);
        this.response.off('drain', onDrain).off('close', onClose);
        resolve(isOpen);
      };
      const onDrain = () => settle(true);
      const onClose = () => settle(false);
      const patience = setTimeout(() => {
        this.isStalled = true;
        this.response.destroy();
        settle(false);
      }, this.stallMs);
      this.response.once('drain', onDrain).once('close', onClose);
    });
  }
}
