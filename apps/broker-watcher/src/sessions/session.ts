import type { EndedBy, EndReason } from '@tallystick/persistence';
import { endedBy } from '../log-lines/end-reason.js';
import type { ConnectDetails } from '../log-lines/log-line.js';

/** One connection of a client, from its acceptance to its end. */
export interface Session {
  /** Given by the database. */
  id: string | undefined;
  readonly client: string;
  username: string | null;
  /** Unix ms by the broker's clock, whole seconds; so is the end. */
  readonly startMs: number;
  /** When its first line was received, Unix ms by the watcher's clock; 0 for one that an earlier process saw. */
  readonly seenMs: number;
  endMs: number | null;
  address: string | null;
  port: number | null;
  /** Null while the connection itself was not seen. */
  connect: ConnectDetails | null;
  endReason: EndReason | null;
  endedBy: EndedBy | null;
  /** It began before `startMs`: the first that was seen of it is something else than its connection. */
  startUncertain: boolean;
  /** It was open when nobody watched, so it may have ended and begun again unseen. */
  endUncertain: boolean;
}

export function close(session: Session, endMs: number, reason: EndReason): Session {
  // the broker's clock may have been set back
  session.endMs = Math.max(session.startMs, endMs);
  return explain(session, reason);
}

/** Sets why a closed session ended. */
export function explain(session: Session, reason: EndReason): Session {
  session.endReason = reason;
  session.endedBy = endedBy(reason);
  return session;
}
