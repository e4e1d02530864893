import { setTimeout as sleep } from 'node:timers/promises';

export interface UntilOptions {
  /** 10 s by default */
  timeoutMs?: number;
  intervalMs?: number;
}

type Falsy = false | null | undefined | 0 | '';

/** Calls `fn` until it returns something true, and returns that. What it throws counts as "not yet" and is the cause of the final error. */
export async function until<T>(
  fn: () => T | Promise<T>,
  { timeoutMs = 10_000, intervalMs = 20 }: UntilOptions = {},
): Promise<Exclude<T, Falsy>> {
  let last: unknown;
  for (const giveUpAt = Date.now() + timeoutMs; ; await sleep(intervalMs)) {
    try {
      const value = await fn();
      if (value) return value as Exclude<T, Falsy>;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() >= giveUpAt) throw new Error(`not within ${timeoutMs} ms: ${fn.toString()}`, { cause: last });
  }
}
