import { type Dialect, dialectOf, USUAL_DIALECT } from '../log-lines/dialect.js';
import { RECEIVE_MAXIMUM } from '../log-lines/info-line.js';
import { beginsAsClientsChose, beginsWithTime, parseLogLine } from '../log-lines/parse-log-line.js';
import type { Gap } from '../gaps/gap.js';
import type { BrokerHistory } from '../sessions/broker-history.js';
import type { HistoryPlan } from './history-plan.js';
import { type ReceivedLine, type RecordedLine, storable } from './recorded-line.js';

/** What the recorder is told beside lines, in its place among them. */
export type Notice =
  /** The broker said its version. */
  | { kind: 'version'; text: string }
  /** Lines are missing. */
  | { kind: 'gap'; gap: Gap }
  /** The broker's uptime tells that it began anew, not before this time. */
  | { kind: 'restart'; startedAtMs: number };

export type Item = { kind: 'line'; line: ReceivedLine } | Notice;

/** Turns what arrived into transactions, in order. Pure but for the history that it carries on. */
export class LineReader {
  dialect: Dialect = USUAL_DIALECT;
  /** `log_timestamp` is on, by the last line that clients have no say in the beginning of. */
  private hasTimes = true;

  constructor(
    readonly history: BrokerHistory,
    /** The watcher's own MQTT client id. */
    private readonly ownClient: string,
  ) {}

  read(items: readonly Item[]): HistoryPlan {
    const events: RecordedLine[] = [];
    const gaps: Gap[] = [];
    const perPacket = new Map<string, RecordedLine>();
    let brokerStartedAtMs: number | undefined;
    for (const item of items) {
      if (item.kind === 'version') this.dialect = dialectOf(item.text) ?? this.dialect;
      if (item.kind === 'restart') {
        brokerStartedAtMs = item.startedAtMs;
        this.history.brokerStartedAfter(item.startedAtMs);
      }
      if (item.kind === 'gap') this.missed(item.gap, gaps);
      if (item.kind !== 'line') continue;
      const event = this.readLine(item.line);
      const { brokerRun, reason, client } = event.line;
      if (brokerRun && brokerRun.phase !== 'terminating') {
        this.dialect = dialectOf(brokerRun.version) ?? this.dialect;
        brokerStartedAtMs = event.tsMs;
      }
      if (reason === DROPPING && client === this.ownClient)
        this.missed({ fromMs: event.tsMs, toMs: item.line.receivedAtMs, reason: 'queue_overflow' }, gaps);
      if (!isRepeatOf(perPacket, event)) events.push(event);
    }
    const changes = this.history.takeChanges();
    const newSessions = new Set([...changes.sessions].filter((session) => session.id === undefined));
    return { events, changes, newSessions, gaps, brokerStartedAtMs, firstEventId: undefined };
  }

  private missed(gap: Gap, gaps: Gap[]): void {
    gaps.push({ ...gap, toMs: Math.max(gap.fromMs, gap.toMs) });
    this.history.doubtAll(gap.toMs);
  }

  private readLine({ topic, payload, raw, receivedAtMs, arrivedAtMs, receipt }: ReceivedLine): RecordedLine {
    if (!beginsAsClientsChose(topic)) this.hasTimes = beginsWithTime(raw);
    const line = storable(parseLogLine(topic, payload, this.dialect, this.history, this.hasTimes));
    const tsMs = line.ts === null ? receivedAtMs : line.ts * 1_000;
    this.history.apply(line, tsMs, this.dialect, receivedAtMs);
    return { line, raw, tsMs, receivedAtMs, arrivedAtMs, packetId: receipt?.packetId ?? null, lineCount: 1 };
  }
}

const DROPPING = 'outgoing messages dropped';

/** Adds a line that a broker writes for every packet to the one before of its client and second. */
function isRepeatOf(perPacket: Map<string, RecordedLine>, event: RecordedLine): boolean {
  if (event.line.reason !== RECEIVE_MAXIMUM) return false;
  const key = `${event.tsMs} ${event.line.client}`;
  const first = perPacket.get(key);
  if (!first) perPacket.set(key, event);
  else first.lineCount += 1;
  return first !== undefined;
}
