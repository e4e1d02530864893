import { AsyncLocalStorage } from 'node:async_hooks';

const storage = new AsyncLocalStorage<Readonly<Record<string, unknown>>>();

/** Runs `work` with these fields in every log line that it, or what it awaits, writes. Nested calls add to the outer fields. */
export function withLogFields<T>(fields: Readonly<Record<string, unknown>>, work: () => T): T {
  return storage.run({ ...storage.getStore(), ...fields }, work);
}

export function currentLogFields(): Readonly<Record<string, unknown>> {
  return storage.getStore() ?? {};
}
