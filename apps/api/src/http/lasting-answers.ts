import type { Response } from 'express';
import { Problem } from './problem.js';

export interface LastingAnswerLimits {
  /** Of all callers. */
  most: number;
  mostOfOneKey: number;
  /** Seconds after which a caller beyond the limits may ask again. */
  retryAfterS: number;
}

/** Answers that last for longer than a request should: how many there may be at once, and their end when the app stops. */
export class LastingAnswers {
  /** With the key of each. */
  private readonly open = new Map<Response, string>();
  private isStopping = false;

  constructor(private readonly limits: LastingAnswerLimits) {}

  /** Counts the answer for as long as `work` takes. Throws TOO_MANY_REQUESTS instead of beginning one too many. */
  async while(response: Response, keyId: string, work: () => Promise<void>): Promise<void> {
    // Nobody would end it any more, and the stop would wait for it.
    if (this.isStopping) return void response.destroy();
    this.assertRoom(keyId);
    this.open.set(response, keyId);
    try {
      await work();
    } finally {
      this.open.delete(response);
    }
  }

  /** The app stops: ends those that are open and begins no more. */
  stop(end: (response: Response) => void): void {
    this.isStopping = true;
    for (const response of this.open.keys()) end(response);
  }

  private assertRoom(keyId: string): void {
    const { most, mostOfOneKey, retryAfterS } = this.limits;
    const ofKey = [...this.open.values()].filter((other) => other === keyId).length;
    if (ofKey < mostOfOneKey && this.open.size < most) return;
    const detail = ofKey < mostOfOneKey ? `${most} are under way already.` : `This key has ${ofKey} under way already.`;
    throw new Problem('TOO_MANY_REQUESTS', detail, { headers: { 'Retry-After': String(retryAfterS) } });
  }
}
