import { Inject, Injectable } from '@nestjs/common';
import type { Request } from 'express';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { Problem } from '../http/problem.js';

/** Requests that one key may make in ten seconds (RATE_LIMIT). */
export const RATE_LIMIT = Symbol('RATE_LIMIT');

const WINDOW_S = 10;
/** Wrong keys from one address within a minute; then it waits for the next. */
const MOST_FAILURES = 10;
const FAILURE_WINDOW_S = 60;

/** Counts in this process alone: two replicas allow twice as much. */
@Injectable()
export class RateLimits {
  private readonly requests: RateLimiterMemory;
  private readonly failures = new RateLimiterMemory({ points: MOST_FAILURES, duration: FAILURE_WINDOW_S });

  constructor(@Inject(RATE_LIMIT) points: number) {
    this.requests = new RateLimiterMemory({ points, duration: WINDOW_S });
  }

  /** Throws TOO_MANY_REQUESTS. */
  async countRequest(keyId: string): Promise<void> {
    await consume(this.requests, keyId);
  }

  /**
   * Runs what finds out who somebody is. Throws TOO_MANY_REQUESTS for an address that has tried too many keys, before another one is
   * looked at, but lets through who `isFamiliar`: others behind the same address go on working.
   */
  async countingFailures<T>(request: Request, isFamiliar: boolean, authenticate: () => Promise<T>): Promise<T> {
    const address = request.ip ?? 'unknown';
    const tried = await this.failures.get(address);
    if (tried !== null && tried.consumedPoints >= MOST_FAILURES && !isFamiliar) throw tooMany(tried);
    try {
      return await authenticate();
    } catch (error) {
      if (error instanceof Problem && error.code === 'UNAUTHENTICATED') await this.failures.penalty(address);
      throw error;
    }
  }
}

async function consume(limiter: RateLimiterMemory, key: string): Promise<void> {
  try {
    await limiter.consume(key);
  } catch (refused) {
    throw refused instanceof RateLimiterRes ? tooMany(refused) : refused;
  }
}

function tooMany({ msBeforeNext }: RateLimiterRes): Problem {
  const headers = { 'Retry-After': String(Math.max(1, Math.ceil(msBeforeNext / 1000))) };
  return new Problem('TOO_MANY_REQUESTS', 'Ask again after the seconds of Retry-After.', { headers });
}
