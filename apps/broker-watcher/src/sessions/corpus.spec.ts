import { bytesOf, type CorpusLine, corpusLines, type Scenario, scenarios, type Version, VERSIONS } from '../../test/corpus.js';
import { dialectOf } from '../log-lines/dialect.js';
import type { EndReason } from '@tallystick/persistence';
import { LOG_TOPIC_PREFIX, parseLogLine } from '../log-lines/parse-log-line.js';
import { SubscriptionTable } from '../../test/subscription-table.js';
import { BrokerHistory } from './broker-history.js';
import type { Session } from './session.js';
import type { SessionChange } from './session-book.js';

/** The subscriber that made the corpus; it was connected before the first line. */
const OBSERVER = 'corpus-watcher';
/** Its clients are programs whose sessions nobody listed. */
const UNLISTED = 'cli_tools';

/**
 * What a session's end may look like in the log. The broker decides what it calls a bad packet, and 1.6 has one line for most of
 * what is not clean; a revoked user's line says `disconnected` only.
 */
function reasonsFor(how: string, version: Version): EndReason[] {
  const unclean: EndReason[] = version === '1.6.15' ? ['network'] : [];
  const reasons: Record<string, EndReason[]> = {
    clean_disconnect: ['clean_disconnect'],
    tcp_closed: ['network'],
    tcp_reset: ['network'],
    taken_over: ['taken_over'],
    keepalive_timeout: ['keepalive_timeout'],
    protocol_error: ['protocol_error', ...unclean],
    malformed: ['malformed', 'protocol_error', ...unclean],
    oversize: ['oversize', ...unclean],
    revoked: ['clean_disconnect'],
    broker_shutdown: ['broker_restart'],
    broker_killed: ['broker_restart'],
  };
  return reasons[how]!;
}

interface Replay {
  /** Sessions by the scenario in which they began. */
  sessions: Map<string, Session[]>;
  /** Active subscriptions made in a scenario, at its end. */
  subscriptions: Map<string, string[]>;
  /** Lines whose effect differs from the label. */
  wrongEffects: unknown[];
  openAtEnd: string[];
}

function replay(version: Version): Replay {
  const dialect = dialectOf(`mosquitto version ${version}`)!;
  const history = new BrokerHistory();
  const table = new SubscriptionTable();
  const result: Replay = { sessions: new Map(), subscriptions: new Map(), wrongEffects: [], openAtEnd: [] };
  const made = new Set<string>();
  const log = corpusLines(version).filter((line) => line.topic.startsWith(LOG_TOPIC_PREFIX));
  for (const [index, line] of log.entries()) {
    const parsed = parseLogLine(line.topic, bytesOf(line), dialect, history);
    const changes = history.apply(parsed, parsed.ts! * 1000, dialect);
    const effect = effectOf(changes);
    // the second line of the broker's start finds nothing left to close
    const isRepeated = line.effect === 'close_all' && effect === 'none' && parsed.brokerRun !== null;
    if (line.effect && effect !== line.effect && !isRepeated)
      result.wrongEffects.push({ seq: line.seq, payload: line.payload, effect, label: line.effect });
    const scenario = line.scenario?.split('#')[0];
    if (!scenario) continue;
    for (const { kind, session } of changes) if (kind === 'opened') push(result.sessions, scenario, session);
    if (parsed.action === 'subscribe') made.add(`${parsed.client} ${parsed.topic}`);
    table.take(history.takeChanges());
    if (scenarioOf(log[index + 1]) === line.scenario || line.scenario !== scenario) continue;
    result.subscriptions.set(scenario, table.active(made));
    made.clear();
  }
  result.openAtEnd = [...history.book.open].map((session) => session.client);
  return result;
}

function scenarioOf(line: CorpusLine | undefined): string | null | undefined {
  return line?.scenario;
}

/** `open` also for one that takes an open id over: its line is the one that opens. */
function effectOf(changes: SessionChange[]): string {
  if (changes.some(({ kind }) => kind === 'opened')) return 'open';
  if (changes.some(({ session }) => session.endReason === 'broker_restart')) return 'close_all';
  return changes.some(({ kind }) => kind === 'closed') ? 'close' : 'none';
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  map.set(key, [...(map.get(key) ?? []), value]);
}

function sessionLines(found: Session[]) {
  return found
    .filter(({ client }) => client !== OBSERVER)
    .map((session) => ({
      client: session.client,
      username: session.username,
      protocol: session.connect?.protocolVersion,
      clean: session.connect?.cleanStart,
      startMs: session.startMs,
      endMs: session.endMs,
      endReason: session.endReason,
      uncertain: session.startUncertain || session.endUncertain,
    }));
}

/** A line has whole seconds, of a clock that the broker may have read a moment before. */
function about(ms: number): unknown {
  return { asymmetricMatch: (actual: unknown) => typeof actual === 'number' && actual <= ms && actual > ms - 2_000 };
}

function oneOf(values: readonly unknown[]): unknown {
  return { asymmetricMatch: (actual: unknown) => values.includes(actual), values };
}

function expectedLines(scenario: Scenario, version: Version) {
  return scenario.sessions.map(({ client, username, protocol, clean, started_ms, ended_ms, how }) => ({
    client,
    username,
    protocol,
    clean,
    startMs: about(started_ms),
    endMs: about(ended_ms),
    endReason: oneOf(reasonsFor(how, version)),
    uncertain: false,
  }));
}

describe.each(VERSIONS)('the corpus of Mosquitto %s, replayed', (version) => {
  const { sessions, subscriptions, wrongEffects, openAtEnd } = replay(version);

  it('gives exactly the sessions that there were: who, when, how ended', () => {
    let count = 0;
    for (const scenario of scenarios(version).filter(({ name }) => name !== UNLISTED)) {
      const found = sessionLines(sessions.get(scenario.name) ?? []);
      const byStart = <T extends { client: string }>(lines: T[]) =>
        lines.toSorted((a, b) => (a.client < b.client ? -1 : a.client > b.client ? 1 : 0));
      expect({ [scenario.name]: byStart(found) }).toEqual({ [scenario.name]: byStart(expectedLines(scenario, version)) });
      count += found.length;
    }
    console.info(`Mosquitto ${version}: ${count} sessions, all as they were`);
    expect(openAtEnd).toEqual([OBSERVER]);
  });

  it('gives exactly the active subscriptions at the end of each scenario', () => {
    let count = 0;
    for (const { name, active_subscriptions_at_end } of scenarios(version).filter(({ name }) => name !== UNLISTED)) {
      const expected = active_subscriptions_at_end.map(({ client, topic, qos }) => `${client} ${topic} ${qos}`).sort();
      expect({ [name]: subscriptions.get(name) ?? [] }).toEqual({ [name]: expected });
      count += expected.length;
    }
    console.info(`Mosquitto ${version}: ${count} active subscriptions, all as they were`);
  });

  it('lets every line do to its session what the label says', () => expect(wrongEffects).toEqual([]));
});
