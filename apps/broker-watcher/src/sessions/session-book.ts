import { isOtherId, otherIds } from '../log-lines/connected-line.js';
import type { Dialect } from '../log-lines/dialect.js';
import { REFUSED } from '../log-lines/ended-line.js';
import type { EndReason } from '@tallystick/persistence';
import type { BrokerRun, LogLine, OpenClients } from '../log-lines/log-line.js';
import { close, explain, type Session } from './session.js';

export interface SessionChange {
  kind: 'opened' | 'closed' | 'changed';
  session: Session;
}

/** An end without a session to end: of a refused connection, of one that was over, or of one whose beginning is yet to come. */
interface UnmatchedEnd {
  address: string | null;
  port: number | null;
  reason: EndReason;
}

/** Sessions whose id may be misread, of which the other ids are kept. */
const MOST_DOUBTFUL = 1_000;
const MOST_OTHER_IDS = 64;

/**
 * Which sessions are open, from log lines in order of arrival. Times are whole seconds, so within one second two lines may come
 * in the wrong order: an end that came before its beginning, or after the next one's, is still counted as that session's.
 */
export class SessionBook implements Pick<OpenClients, 'isOpen' | 'isOpenAt'> {
  private readonly openByClient = new Map<string, Session>();
  /** Open ones whose id may be another than was read, by the other ids: its own lines then name one of those. */
  private readonly misread = new Map<string, Set<Session>>();
  private readonly doubtful = new Set<Session>();
  /** Open ones of which the other ids are too many to be kept. While there is one, everybody may be connected. */
  private readonly anyId = new Set<Session>();
  private secondMs = -1;
  private seenMs = 0;
  /** Of the current second. */
  private readonly unmatchedEnds = new Map<string, UnmatchedEnd[]>();
  /** Of the current second: sessions that a connection of the same id ended, although no line said so yet. */
  private readonly replaced = new Map<string, Session>();
  private readonly endedNow = new Set<string>();
  /** A takeover's own line was seen (`log_type error` is on), so a session is not replaced without one. */
  private takeoversAreLogged = false;
  /** Every session was seen from its beginning: the broker's start was seen, and nothing was missed since. */
  private isComplete = false;
  private lastRun: { atMs: number; phases: Set<BrokerRun['phase']> } = { atMs: -1, phases: new Set() };

  constructor(open: Iterable<Session> = []) {
    for (const session of open) this.opened(session);
  }

  get open(): Iterable<Session> {
    return this.openByClient.values();
  }

  get size(): number {
    return this.openByClient.size;
  }

  openOf(client: string): Session | undefined {
    return this.openByClient.get(client);
  }

  isOpen(client: string): boolean {
    return this.openByClient.has(client) || this.misread.has(client) || this.anyId.size > 0;
  }

  isOpenAt(client: string, address: string | null, port: number | null): boolean {
    const session = this.openByClient.get(client);
    return session !== undefined && session.address !== null && isAt(session, address, port);
  }

  /** `atMs`: the time of the line, Unix ms by the broker's clock; `seenMs`: of its receipt, by ours. */
  apply(line: LogLine, atMs: number, dialect: Dialect, seenMs: number): SessionChange[] {
    this.turnTo(atMs);
    this.seenMs = seenMs;
    if (line.brokerRun) return this.broker(line.brokerRun.phase, atMs);
    if (line.client === null) return [];
    if (line.action === 'connected') return this.connected(line.client, line, atMs);
    if (line.action === 'disconnected') return this.ended(line.client, line, atMs, dialect);
    if (line.action === 'subscribe' || line.action === 'unsubscribe') return this.active(line.client, atMs);
    return [];
  }

  /** The broker began anew, not before this time by our clock: every session that was seen before is over. */
  brokerStartedAfter(startedAtMs: number): SessionChange[] {
    return this.closeAll(startedAtMs, (session) => session.seenMs < startedAtMs);
  }

  /** Nobody watched for a while: whether a session is still the same is not known any more. */
  doubtAll(): SessionChange[] {
    this.isComplete = false;
    return [...this.open].filter((session) => !session.endUncertain).map((session) => ({ kind: 'changed', session: doubted(session) }));
  }

  private turnTo(atMs: number): void {
    if (atMs === this.secondMs) return;
    this.secondMs = atMs;
    this.unmatchedEnds.clear();
    this.replaced.clear();
    this.endedNow.clear();
  }

  private connected(client: string, line: LogLine, atMs: number): SessionChange[] {
    const { username, address, port, connect } = line;
    const before = this.openByClient.get(client);
    if (before?.startUncertain && before.connect === null && before.startMs === atMs) {
      // Its subscription came before its connection.
      return [{ kind: 'changed', session: Object.assign(before, { username, address, port, connect, startUncertain: false }) }];
    }
    const session: Session = { ...NEW, client, username, startMs: atMs, seenMs: this.seenMs, address, port, connect };
    const changes: SessionChange[] = before ? [this.replace(before, atMs)] : [];
    const end = this.takeUnmatchedEnd(session);
    changes.push({ kind: 'opened', session });
    if (end) changes.push({ kind: 'closed', session: close(session, atMs, end.reason) });
    else this.opened(session);
    return changes;
  }

  /** A connection under an open id ends the one before (MQTT 5 section 3.1.4), whether or not a line said so. */
  private replace(before: Session, atMs: number): SessionChange {
    this.forget(before);
    if (!before.endUncertain) this.replaced.set(before.client, before);
    return { kind: 'closed', session: close(before, atMs, before.endUncertain ? 'unknown' : 'taken_over') };
  }

  private ended(client: string, line: LogLine, atMs: number, dialect: Dialect): SessionChange[] {
    const reason = line.endReason!;
    if (dialect === '2.1') return this.endedAt(client, line, reason, atMs);
    // From 2.0.13 on the id of a refused connection is printed, and a live client may have the same.
    if (line.reason === REFUSED) return [];
    if (reason === 'taken_over') this.takeoversAreLogged = true;
    const replaced = this.replaced.get(client);
    if (replaced && (reason === 'taken_over' || this.takeoversAreLogged)) {
      this.replaced.delete(client);
      return [{ kind: 'changed', session: explain(replaced, reason) }];
    }
    const open = this.openByClient.get(client) ?? this.misreadOf(client);
    if (open) return [this.close(open, atMs, reason)];
    // Of a session that began before we watched; or, in 1.6, of one that is offline while the configuration is read again.
    if (!this.isComplete || (dialect === '1.6' && reason === 'clean_disconnect')) return [];
    this.keepUnmatched(client, { address: null, port: null, reason });
    return [];
  }

  /**
   * 2.1 names the peer: only the session at this address and port is over. A takeover is also written of one that was over before.
   * Where the peer tells nothing (every client of a Unix socket has port 0, and of a session that began unseen it is not known) the
   * line of a refused connection would fit a live client of the same id, as in 2.0: that closes nothing.
   */
  private endedAt(client: string, { address, port }: LogLine, reason: EndReason, atMs: number): SessionChange[] {
    const open = this.openByClient.get(client) ?? this.misreadOf(client);
    const mayBeRefusal = reason === 'not_authorised' || reason === 'unknown';
    if (mayBeRefusal && (port === 0 || open?.address === null)) return [];
    if (!open || !isAt(open, address, port)) {
      if (reason !== 'taken_over') this.keepUnmatched(client, { address, port, reason });
      return [];
    }
    if (open.address !== null) open.endUncertain = false; // the very connection that we know
    return [this.close(open, atMs, reason)];
  }

  private close(session: Session, atMs: number, reason: EndReason): SessionChange {
    this.forget(session);
    this.endedNow.add(session.client);
    return { kind: 'closed', session: close(session, atMs, reason) };
  }

  /** Who subscribes is connected: if its connection was not seen, its session began unseen. */
  private active(client: string, atMs: number): SessionChange[] {
    if (this.openByClient.has(client) || this.endedNow.has(client) || this.unmatchedEnds.has(client)) return [];
    const misread = this.misreadOf(client);
    const changes: SessionChange[] = misread ? [this.close(misread, atMs, 'unknown')] : [];
    const session: Session = { ...NEW, client, startMs: atMs, seenMs: this.seenMs, startUncertain: true };
    this.opened(session);
    return [...changes, { kind: 'opened', session }];
  }

  private opened(session: Session): void {
    this.openByClient.set(session.client, session);
    const ids = otherIds(session.client, session.username !== null, MOST_OTHER_IDS);
    if (ids.length === 0) return;
    if (ids.length > MOST_OTHER_IDS || this.doubtful.size >= MOST_DOUBTFUL) return void this.anyId.add(session);
    this.doubtful.add(session);
    for (const id of ids) this.misread.set(id, (this.misread.get(id) ?? new Set()).add(session));
  }

  private forget(session: Session): void {
    this.openByClient.delete(session.client);
    this.anyId.delete(session);
    if (!this.doubtful.delete(session)) return;
    for (const id of otherIds(session.client, session.username !== null, MOST_OTHER_IDS)) {
      const sessions = this.misread.get(id);
      sessions?.delete(session);
      if (sessions?.size === 0) this.misread.delete(id);
    }
  }

  /** The session of a client whose id was read together with what it had chosen for that. */
  private misreadOf(client: string): Session | undefined {
    const [session] = this.misread.get(client) ?? [];
    if (session) return session;
    return [...this.anyId].find((other) => isOtherId(other.client, other.username !== null, client));
  }

  /** A line of the broker's own start or end that comes again (Mosquitto 2.0, after a restart) closes nothing more. */
  private broker(phase: BrokerRun['phase'], atMs: number): SessionChange[] {
    const { lastRun } = this;
    if (atMs < lastRun.atMs || (atMs === lastRun.atMs && lastRun.phases.has(phase))) return [];
    if (atMs > lastRun.atMs) this.lastRun = { atMs, phases: new Set() };
    this.lastRun.phases.add(phase);
    this.isComplete = true;
    this.unmatchedEnds.clear();
    this.replaced.clear();
    return this.closeAll(atMs, (session) => session.startMs <= atMs);
  }

  private closeAll(atMs: number, which: (session: Session) => boolean): SessionChange[] {
    return [...this.open].filter(which).map((session) => this.close(session, atMs, 'broker_restart'));
  }

  private keepUnmatched(client: string, end: UnmatchedEnd): void {
    const ends = this.unmatchedEnds.get(client);
    if (ends) ends.push(end);
    else this.unmatchedEnds.set(client, [end]);
  }

  private takeUnmatchedEnd(session: Session): UnmatchedEnd | undefined {
    const ends = this.unmatchedEnds.get(session.client);
    const at = ends?.findIndex(({ address, port }) => address === null || isAt(session, address, port)) ?? -1;
    if (!ends || at === -1) return undefined;
    const [end] = ends.splice(at, 1);
    if (ends.length === 0) this.unmatchedEnds.delete(session.client);
    return end;
  }
}

const NEW = {
  id: undefined,
  username: null,
  endMs: null,
  address: null,
  port: null,
  connect: null,
  endReason: null,
  endedBy: null,
  startUncertain: false,
  endUncertain: false,
};

/** A session whose connection was not seen may be at any address. */
function isAt(session: Session, address: string | null, port: number | null): boolean {
  return session.address === null || (session.address === address && session.port === port);
}

function doubted(session: Session): Session {
  session.endUncertain = true;
  return session;
}
