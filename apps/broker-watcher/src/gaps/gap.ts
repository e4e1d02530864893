import type { GapReason } from '@tallystick/persistence';

/** Unix ms between which log lines may be missing. */
export interface Gap {
  fromMs: number;
  toMs: number;
  reason: GapReason;
}

/** Mosquitto throws a log line away when nobody has fetched it for 20 s (message expiry of `$SYS/broker/log`, src/logging.c). */
export const LINES_KEPT_MS = 20_000;

export interface Absence {
  /** When the watcher was last connected, by the database or by its own memory; undefined when it never was. */
  watchedUntilMs: number | undefined;
  connectedAtMs: number;
  /** The broker kept the watcher's session. */
  resumed: boolean;
  /** Such as `mosquitto version 2.0.11`: the embedded aedes keeps no lines in a session. */
  version: string | undefined;
  /** No connection of this process came before. */
  isFirst: boolean;
}

/** What was missed while the watcher was away: nothing, if the broker kept its lines for all that time. */
export function gapAfter({ watchedUntilMs, connectedAtMs, resumed, version, isFirst }: Absence): Gap | undefined {
  if (watchedUntilMs === undefined) return undefined;
  const keptMs = resumed && !version?.startsWith('aedes ') ? LINES_KEPT_MS : 0;
  if (keptMs > 0 && connectedAtMs - watchedUntilMs <= keptMs) return undefined;
  const toMs = Math.max(watchedUntilMs, connectedAtMs - keptMs);
  return { fromMs: watchedUntilMs, toMs, reason: isFirst ? 'watcher_down' : 'log_expired' };
}
