import fc from 'fast-check';
import type { Dialect } from '../log-lines/dialect.js';
import { parseLogLine } from '../log-lines/parse-log-line.js';
import type { Session } from './session.js';
import { SessionBook } from './session-book.js';

const SECOND = 1_000;
const FIRST = 1_700_000_000;

/** Applies `<second> <leaf> <text>` lines to a book. */
class Log {
  readonly sessions = new Set<Session>();

  constructor(
    private readonly dialect: Dialect,
    readonly book = new SessionBook(),
  ) {}

  lines(...lines: string[]): this {
    for (const line of lines) {
      const [, second, leaf, text] = /^(\d+) (\S+) (.*)$/s.exec(line)!;
      const parsed = parseLogLine(`$SYS/broker/log/${leaf}`, Buffer.from(`${FIRST + Number(second)}: ${text}`), this.dialect, {
        isOpen: (client) => this.book.isOpen(client),
        isOpenAt: (...peer) => this.book.isOpenAt(...peer),
      });
      for (const { session } of this.book.apply(parsed, parsed.ts! * SECOND, this.dialect, parsed.ts! * SECOND)) this.sessions.add(session);
    }
    return this;
  }

  /** Every session as `client start-end reason`, seconds since the first. */
  get told(): string[] {
    const second = (ms: number | null) => (ms === null ? '' : ms / SECOND - FIRST);
    return [...this.sessions].map(
      ({ client, startMs, endMs, endReason }) => `${client} ${second(startMs)}-${second(endMs)} ${endReason ?? 'open'}`,
    );
  }
}

const connect = (client: string, port: number, details = 'p2, c1, k60') =>
  `N New client connected from 1.2.3.4:${port} as ${client} (${details}).`;

describe('sessions', () => {
  it('open with a connection and close with its end, once', () => {
    const log = new Log('2.0').lines(`0 ${connect('a', 1)}`, '5 N Client a closed its connection.', '6 N Client a disconnected.');
    expect(log.told).toEqual(['a 0-5 network']);
    expect(log.book.size).toBe(0);
  });

  it('are taken over by a connection under the same id, with a line of its own or without', () => {
    const withLine = ['0 ' + connect('a', 1), '3 E Client a already connected, closing old connection.', '3 ' + connect('a', 2)];
    expect(new Log('2.0').lines(...withLine).told).toEqual(['a 0-3 taken_over', 'a 3- open']);
    expect(new Log('2.0').lines(withLine[0]!, withLine[2]!).told).toEqual(['a 0-3 taken_over', 'a 3- open']);
    expect(new Log('2.0').lines(withLine[0]!, withLine[2]!, withLine[1]!).told).toEqual(['a 0-3 taken_over', 'a 3- open']);
  });

  it('end with their client’s own line when its user name was made to look like a longer id', () => {
    const forged = "p2, c1, k60, u'x (p2, c1, k60, u'y (p2, c1, k60, u'z'";
    const misread = "a (p2, c1, k60, u'x (p2, c1, k60, u'y";
    const log = new Log('2.0').lines(`0 ${connect('a', 1, forged)}`, '5 N Client a disconnected.');
    expect(log.told).toEqual([`${misread} 0-5 clean_disconnect`]);
    expect(log.book.size).toBe(0);
    const newer = new Log('2.1').lines(`0 ${connect('a', 1, forged)}`, '5 N Client a [1.2.3.4:2] disconnected.');
    expect(newer.book.size).toBe(1);
    expect(newer.lines('6 N Client a [1.2.3.4:1] disconnected.').told).toEqual([`${misread} 0-6 clean_disconnect`]);
    expect(new Log('2.0').lines(`0 ${connect('a', 1, forged)}`, '5 M/subscribe a 0 t').told).toEqual([
      `${misread} 0-5 unknown`,
      'a 5- open',
    ]);
    expect(new Log('2.0', new SessionBook(log.sessions)).lines('9 N Client a disconnected.').book.size).toBe(0);
  });

  it('end with their client’s own line when its address was made to look like a longer id, or its user name like very many', () => {
    const forwarded = 'N New client connected from 1.2.3.4:5 as b:0 as a (p2, c1, k60).';
    const many = `p2, c1, k60${", u'x (p2, c1, k60".repeat(40)}, u'z'`;
    const manyAs = `N New client connected from 1.2.3.4:5${' as b:0'.repeat(40)} as a (${many}).`;
    for (const line of [forwarded, manyAs]) {
      const log = new Log('2.0').lines(`0 ${line}`);
      expect(log.book.isOpen('a')).toBe(true);
      expect(log.lines('5 N Client a disconnected.').book.size).toBe(0);
      expect(log.book.isOpen('a')).toBe(false);
    }
  });

  it('do not end with the line of a client whose id is merely the beginning of theirs', () => {
    const [plain, odd] = ["a (p2, c1, k60, u'x", 'a (p2, c1, k60). b'];
    const lines = [plain, odd].flatMap((id, port) => [`0 ${connect(id, port)}`, `0 ${connect(`${id}2`, port, "p2, c1, k60, u'u'")}`]);
    expect(new Log('2.0').lines(...lines, '5 N Client a (p2 disconnected.', '5 N Client b disconnected.').book.size).toBe(4);
  });

  it('are not closed by a refused connection under the same id', () => {
    expect(new Log('2.0').lines(`0 ${connect('a', 1)}`, '3 N Client a disconnected, not authorised.').told).toEqual(['a 0- open']);
    const newer = new Log('2.1').lines(`0 ${connect('a', 1, 'p4, c1, k60')}`, '3 N Client a [1.2.3.4:2] disconnected: not authorised.');
    expect(newer.told).toEqual(['a 0- open']);
    expect(
      new Log('1.6').lines('0 N New client connected from ::1 as a (p2, c1, k60).', '3 N Client a disconnected, no longer authorised.')
        .told,
    ).toEqual(['a 0-3 not_authorised']);
  });

  it('close in 2.1 only for the same address and port', () => {
    const log = new Log('2.1').lines(
      `0 ${connect('a', 1, 'p4, c0, k60')}`,
      '1 N Client a [1.2.3.4:1] disconnected.',
      '5 N Client a [1.2.3.4:1] disconnected: session taken over.',
      `5 ${connect('a', 2, 'p4, c0, k60')}`,
      '6 N Client a [(null):0] disconnected: session taken over.',
      '7 N Client a [1.2.3.4:2] disconnected: exceeded timeout.',
    );
    expect(log.told).toEqual(['a 0-1 clean_disconnect', 'a 5-7 keepalive_timeout']);
  });

  it('are not closed by a refused connection in 2.1 either, where the peer does not tell it apart', () => {
    const local = 'N New client connected from /run/broker.sock:0 as a (p4, c1, k60).';
    const refused = 'N Client a [/run/broker.sock:0] disconnected: not authorised.';
    expect(new Log('2.1').lines(`0 ${local}`, `3 ${refused}`).told).toEqual(['a 0- open']);
    expect(new Log('2.1').lines(`3 ${refused}`, `3 ${local}`).told).toEqual(['a 3- open']);
    const unseen = new Log('2.1').lines('0 M/subscribe a 0 t', '3 N Client a [1.2.3.4:5] disconnected: bad username or password.');
    expect(unseen.told).toEqual(['a 0- open']);
    expect(unseen.lines('4 N Client a [1.2.3.4:6] disconnected.').told).toEqual(['a 0-4 clean_disconnect']);
    const named = new Log('2.1').lines('0 M/subscribe 1.2.3.4 0 t', '3 N Client 1.2.3.4 [1.2.3.4:5] disconnected: protocol error.');
    expect(named.told).toEqual(['1.2.3.4 0- open']);
  });

  it('of another client are not closed by a hostile id', () => {
    const log = new Log('2.0').lines(
      `0 ${connect('victim', 1)}`,
      `0 ${connect('victim closed its connection.', 2)}`,
      '1 N Client victim closed its connection. disconnected.',
    );
    expect(log.told).toEqual(['victim 0- open', 'victim closed its connection. 0-1 clean_disconnect']);
  });

  it('begin unseen when a subscription is the first that is seen, and are known once the connection comes', () => {
    const late = new Log('2.0').lines('0 M/subscribe a 1 t', '9 N Client a disconnected.');
    expect(late.told).toEqual(['a 0-9 clean_disconnect']);
    expect([...late.sessions][0]).toMatchObject({ startUncertain: true, connect: null });
    const turned = new Log('2.0').lines('0 M/subscribe a 1 t', `0 ${connect('a', 1)}`);
    expect(turned.told).toEqual(['a 0- open']);
    expect([...turned.sessions][0]).toMatchObject({ startUncertain: false, port: 1 });
  });
});

describe('the end of the broker', () => {
  it.each(['starting', 'running', 'terminating'])('closes every session at "%s", also those of the same second', (phase) => {
    const log = new Log('2.0').lines(
      `0 ${connect('a', 1)}`,
      `5 ${connect('b', 1)}`,
      `5 I mosquitto version 2.0.11 ${phase}`,
      `5 ${connect('c', 1)}`,
    );
    expect(log.told).toEqual(['a 0-5 broker_restart', 'b 5-5 broker_restart', 'c 5- open']);
  });

  it('is not believed a second time: Mosquitto 2.0 delivers its lines again after a restart', () => {
    const lines = ['5 I mosquitto version 2.0.11 starting', '5 I mosquitto version 2.0.11 running'];
    const log = new Log('2.0').lines(...lines, `5 ${connect('c', 1)}`, ...lines, '4 I mosquitto version 2.0.11 terminating');
    expect(log.told).toEqual(['c 5- open']);
  });

  it('is also seen by its uptime', () => {
    const log = new Log('2.0').lines(`0 ${connect('a', 1)}`, `8 ${connect('b', 1)}`);
    log.book.brokerStartedAfter((FIRST + 5) * SECOND);
    expect(log.told).toEqual(['a 0-5 broker_restart', 'b 8- open']);
  });
});

describe('after a gap', () => {
  it('open sessions are in doubt until something certain is seen of them', () => {
    const log = new Log('2.0').lines(`0 ${connect('a', 1)}`, `0 ${connect('b', 2)}`);
    log.book.doubtAll();
    log.lines('90 N Client a closed its connection.', `91 ${connect('b', 3)}`, `92 ${connect('c', 3)}`);
    expect(log.told).toEqual(['a 0-90 network', 'b 0-91 unknown', 'b 91- open', 'c 92- open']);
    expect([...log.sessions].map(({ endUncertain }) => endUncertain)).toEqual([true, true, false, false]);
  });

  it('a session that ends at its own address and port is certain again', () => {
    const log = new Log('2.1').lines(`0 ${connect('a', 1, 'p4, c1, k60')}`);
    log.book.doubtAll();
    log.lines('90 N Client a [1.2.3.4:1] disconnected.');
    expect([...log.sessions][0]).toMatchObject({ endUncertain: false, endReason: 'clean_disconnect' });
  });
});

describe('lines of one second in the wrong order', () => {
  const started = '0 I mosquitto version 2.0.11 running';

  it('count an end that comes before its beginning', () => {
    expect(new Log('2.0').lines(started, '5 N Client a disconnected.', `5 ${connect('a', 1)}`).told).toEqual(['a 5-5 clean_disconnect']);
    const newer = new Log('2.1').lines('5 N Client a [1.2.3.4:1] disconnected.', `5 ${connect('a', 1, 'p4, c1, k60')}`);
    expect(newer.told).toEqual(['a 5-5 clean_disconnect']);
  });

  it('do not when the end may be of a session that began before anybody watched, or came in another second', () => {
    expect(new Log('2.0').lines('5 N Client a disconnected.', `5 ${connect('a', 1)}`).told).toEqual(['a 5- open']);
    expect(new Log('2.0').lines(started, '5 N Client a disconnected.', `6 ${connect('a', 1)}`).told).toEqual(['a 6- open']);
    expect(new Log('2.1').lines('5 N Client a [1.2.3.4:1] disconnected.', `5 ${connect('a', 2, 'p4, c1, k60')}`).told).toEqual([
      'a 5- open',
    ]);
  });

  it('end in the same state in any order, when the lines name the peer', () => {
    const lines = [
      `5 ${connect('a', 1, 'p4, c1, k60')}`,
      '5 N Client a [1.2.3.4:1] disconnected.',
      `5 ${connect('a', 2, 'p4, c1, k60')}`,
      '5 N Client a [1.2.3.4:2] disconnected: exceeded timeout.',
      `5 ${connect('b', 3, 'p4, c1, k60')}`,
    ];
    fc.assert(
      fc.property(fc.shuffledSubarray(lines, { minLength: lines.length }), (shuffled) => {
        const log = new Log('2.1').lines(...shuffled);
        expect([...log.book.open].map(({ client }) => client)).toEqual(['b']);
        expect(log.sessions.size).toBe(3);
      }),
    );
  });
});

describe('any life of clients', () => {
  const step = fc.record({
    client: fc.constantFrom('a', 'b', 'a disconnected.', 'c [1.2.3.4:1] disconnected.'),
    what: fc.constantFrom('connect', 'disconnect', 'lose', 'refuse', 'subscribe', 'restart'),
    pause: fc.constantFrom(0, 0, 1),
  });

  it.each(['2.0', '2.1'] as const)('leaves open who is connected, %s', (dialect) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const log = new Log(dialect);
        const ports = new Map<string, number>();
        let [second, port, opened] = [0, 10, 0];
        for (const { client, what, pause } of steps) {
          second += pause;
          const at = (name: string) => (dialect === '2.1' ? `${name} [1.2.3.4:${ports.get(client)}]` : name);
          const open = ports.has(client);
          if (what === 'connect') {
            if (open && dialect === '2.0') log.lines(`${second} E Client ${client} already connected, closing old connection.`);
            if (open && dialect === '2.1') log.lines(`${second} N Client ${at(client)} disconnected: session taken over.`);
            ports.set(client, ++port);
            opened++;
            log.lines(`${second} ${connect(client, port)}`);
          }
          if (what === 'refuse' && dialect === '2.0') log.lines(`${second} N Client ${client} disconnected, not authorised.`);
          if (what === 'refuse' && dialect === '2.1')
            log.lines(`${second} N Client ${client} [1.2.3.4:${++port}] disconnected: not authorised.`);
          if (what === 'restart') {
            second++; // a broker takes its time
            log.lines(`${second} I mosquitto version 2.0.11 starting`);
            ports.clear();
          }
          if (!open) continue;
          if (what === 'subscribe') log.lines(`${second} M/subscribe ${client} 1 t`);
          if (what !== 'disconnect' && what !== 'lose') continue;
          const clean = what === 'disconnect';
          log.lines(
            `${second} N Client ${at(client)} ${clean ? 'disconnected.' : dialect === '2.0' ? 'closed its connection.' : 'disconnected: connection closed by client.'}`,
          );
          ports.delete(client);
        }
        expect([...log.book.open].map((session) => `${session.client} ${session.port}`).sort()).toEqual(
          [...ports].map(([client, at]) => `${client} ${at}`).sort(),
        );
        expect(log.sessions.size).toBe(opened);
        for (const session of log.sessions) expect(session.endMs === null).toBe(log.book.openOf(session.client) === session);
      }),
    );
  });
});
