/** What a spec started and must not outlive it, newest last. */
const started: (() => Promise<unknown>)[] = [];

/** Runs after the spec's file (or in `stopAll`), in reverse order of registration; must be harmless for what has ended already. */
export function onCleanUp(stop: () => Promise<unknown>): void {
  started.push(stop);
}

/** Ends everything that this file's functions started. Each of them is tried, then the first failure is thrown. */
export async function stopAll(): Promise<void> {
  const failures: unknown[] = [];
  while (started.length > 0) await started.pop()!().catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}

// Outside jest (a benchmark) there is no afterAll: there the caller calls stopAll.
if (typeof afterAll === 'function') afterAll(stopAll);
