import type { ReceivedPacket } from '@tallystick/mqtt';
import { BrokerHistory } from '../sessions/broker-history.js';
import { type Item, LineReader } from './line-reader.js';
import { receivedLine } from './recorded-line.js';

const T = 1_700_000_000;

function line(leaf: string, text: string, second = 0, time = `${T + second}: `): Item {
  const payload = Buffer.from(`${time}${text}`);
  const packet = {
    topic: `$SYS/broker/log/${leaf}`,
    payload,
    qos: 1,
    retained: false,
    receivedAtMs: (T + second) * 1_000 + 500,
    arrivedAtMs: 0,
  };
  return { kind: 'line', line: receivedLine({ ...packet, receipt: undefined, deduplicationKey: undefined } satisfies ReceivedPacket) };
}

const reader = () => new LineReader(new BrokerHistory(), 'own');

describe('LineReader', () => {
  it('keeps every line, also two equal ones of one second', () => {
    const twice = line('N', 'Client a disconnected.');
    expect(reader().read([twice, twice]).events).toHaveLength(2);
  });

  it('takes an id for no time where the broker writes none', () => {
    const connected = (client: string, time?: string) =>
      line('N', `New client connected from 1.2.3.4:5 as ${client} (p2, c1, k60).`, 0, time);
    const forged = '1600000000: victim';
    const untimed = reader().read([connected('victim', ''), connected(forged, ''), line('M/subscribe', `${forged} 1 t`, 9, '')]);
    expect(untimed.events.map(({ line: { client, ts } }) => [client, ts])).toEqual([
      ['victim', null],
      [forged, null],
      [forged, null],
    ]);
    const timed = reader().read([connected(forged), line('M/subscribe', `${forged} 1 t`)]);
    expect(timed.events.map(({ line: { client, ts } }) => [client, ts])).toEqual([
      [forged, T],
      [forged, T],
    ]);
  });

  it('sums up what a broker writes for every packet, by client and second', () => {
    const quota = (client: string, second: number) =>
      line('W', `Client ${client} has exceeded its receive-maximum quota. This behaviour must be fixed on the client.`, second);
    const { events } = reader().read([quota('a', 0), quota('a', 0), quota('b', 0), quota('a', 0), quota('a', 1)]);
    expect(events.map((event) => [event.line.client, event.lineCount])).toEqual([
      ['a', 3],
      ['b', 1],
      ['a', 1],
    ]);
  });

  it('reads lines as the broker words them, from the moment it says its version', () => {
    const ended = line('N', 'Client a [1.2.3.4:5] disconnected.');
    const { events } = reader().read([
      ended,
      { kind: 'version', text: 'mosquitto version 2.1.2' },
      ended,
      line('I', 'mosquitto version 2.0.22 running'),
      ended,
    ]);
    expect(events.map((event) => event.line.client)).toEqual(['a [1.2.3.4:5]', 'a', null, 'a [1.2.3.4:5]']);
  });

  it('doubts every session at a gap, in its place among the lines', () => {
    const gap = { fromMs: T * 1_000, toMs: T * 1_000 + 60_000, reason: 'watcher_down' as const };
    const before = line('N', 'New client connected from 1.2.3.4:5 as a (p2, c1, k60).');
    const after = line('N', 'New client connected from 1.2.3.4:5 as b (p2, c1, k60).', 70);
    const plan = reader().read([before, { kind: 'gap', gap }, after]);
    expect(plan.gaps).toEqual([gap]);
    expect([...plan.changes.sessions].map((session) => [session.client, session.endUncertain])).toEqual([
      ['a', true],
      ['b', false],
    ]);
  });

  it('takes the broker’s word that it dropped lines of ours for a gap', () => {
    const plan = reader().read([
      line('N', 'Outgoing messages are being dropped for client other.'),
      line('N', 'Outgoing messages are being dropped for client own.', 1),
    ]);
    expect(plan.gaps).toEqual([{ fromMs: (T + 1) * 1_000, toMs: (T + 1) * 1_000 + 500, reason: 'queue_overflow' }]);
  });

  it('keeps of a line what PostgreSQL can hold and index', () => {
    const id = 'x'.repeat(60_000);
    const { events } = reader().read([line('N', `Client ${id} disconnected.`), line('N', 'Client a\0b disconnected.')]);
    expect(events[0]).toMatchObject({ line: { action: 'disconnected', client: null, truncated: true }, raw: expect.stringContaining(id) });
    expect(events[1]).toMatchObject({ line: { client: 'a\ufffdb' }, raw: `${T}: Client a\ufffdb disconnected.` });
  });
});
