import fc from 'fast-check';
import { otherIds } from '../log-lines/connected-line.js';
import { parseLogLine } from '../log-lines/parse-log-line.js';
import { BrokerHistory } from './broker-history.js';
import type { Session } from './session.js';

const DIALECTS = ['1.6', '2.0', '2.1'] as const;
const FIRST = 1_700_000_000;

/** Ids of which one with a topic, a user name, an address or the rest of a line reads like another. */
const IDS = [
  'dev',
  'dev a',
  'dev 1 x',
  'victim',
  'victim disconnected.',
  'victim closed its connection.',
  'victim disconnected: Success',
  'victim [1.2.3.4:7] disconnected.',
  'victim already connected, closing old connection.',
  'a',
  "a (p2, c1, k60, u'x",
  "a (p2, c1, k60, u'x (p2, c1, k60, u'y",
  'b',
  'a as b',
  'a:0 as b',
  '1.2.3.4',
  '<unknown>',
  '1700000000: dev',
];
const TOPICS = ['t', 'a b c', 'b c', 'c', 'x 0 y', '0 y', 'y', '1 x 0 y', 'disconnected.'];
const USERS = ['', 'alice', "x (p2, c1, k60, u'y", "x (p2, c1, k60, u'x (p2, c1, k60, u'y", "y').", "u'"];
/** What a WebSocket client says of its address in X-Forwarded-For: 2.0 believes it, and prints port 0. */
const FORWARDED = ['1.2.3.4', '9.9.9.9:1 as a', 'x as a', '1.2.3.4:7 as victim (p2, c1, k60).'];

const step = fc.record({
  client: fc.constantFrom(...IDS),
  what: fc.constantFrom('connect', 'connect', 'disconnect', 'lose', 'refuse', 'subscribe', 'unsubscribe', 'nobody'),
  topic: fc.constantFrom(...TOPICS),
  user: fc.constantFrom(...USERS),
  forwarded: fc.option(fc.constantFrom(...FORWARDED), { freq: 3 }),
  pause: fc.constantFrom(0, 0, 1),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Writes lines as a broker does, from its start on, and watches who did what each of them changes. */
class Broker {
  private readonly history = new BrokerHistory();
  private readonly peers = new Map<string, string>();
  private readonly owners = new Map<Session, string>();
  private second = FIRST;
  private port = 1_000;
  readonly wrongs: string[] = [];

  constructor(private readonly dialect: (typeof DIALECTS)[number]) {
    this.log('', 'I', `mosquitto version ${dialect}.1 running`);
  }

  take({ client, what, topic, user, forwarded, pause }: Step): void {
    this.second += pause;
    if (what === 'nobody') return this.ended(undefined, this.nextPeer(), 'disconnected due to protocol error.', 'protocol error');
    if (what === 'refuse') return this.refuse(client);
    if (what === 'connect') return this.connect(client, user, forwarded);
    const peer = this.peers.get(client);
    if (peer === undefined) return;
    if (what === 'subscribe') return this.log(client, 'M/subscribe', `${client} 1 ${topic}`);
    if (what === 'unsubscribe') return this.log(client, 'M/unsubscribe', `${client} ${topic}`);
    this.peers.delete(client);
    if (what === 'disconnect') this.ended(client, peer, 'disconnected.', undefined);
    else this.ended(client, peer, 'closed its connection.', 'connection closed by client');
  }

  private connect(client: string, user: string, forwarded: string | null): void {
    const old = this.peers.get(client);
    if (old !== undefined && this.dialect === '2.1') this.log(client, 'N', `Client ${client} [${old}] disconnected: session taken over.`);
    if (old !== undefined && this.dialect !== '2.1') this.log(client, 'E', `Client ${client} already connected, closing old connection.`);
    const peer = this.dialect === '2.0' && forwarded !== null ? `${forwarded}:0` : this.nextPeer();
    this.peers.set(client, peer);
    const from = this.dialect === '1.6' ? '1.2.3.4' : peer;
    this.log(client, 'N', `New client connected from ${from} as ${client} (p2, c1, k60${user && `, u'${user}'`}).`);
  }

  private refuse(client: string): void {
    if (this.dialect === '1.6') this.log('', 'N', 'Socket error on client <unknown>, disconnecting.');
    if (this.dialect === '2.0') this.log('', 'N', `Client ${client} disconnected, not authorised.`);
    if (this.dialect === '2.1') this.log('', 'N', `Client ${client} [${this.nextPeer()}] disconnected: not authorised.`);
  }

  private ended(client: string | undefined, peer: string, ending: string, reason: string | undefined): void {
    const name = client ?? (this.dialect === '2.1' ? '1.2.3.4' : '<unknown>');
    if (this.dialect === '2.1') this.log(client ?? '', 'N', `Client ${name} [${peer}] disconnected${reason ? `: ${reason}` : ''}.`);
    else if (this.dialect === '1.6' && reason) this.log(client ?? '', 'N', `Socket error on client ${name}, disconnecting.`);
    else this.log(client ?? '', 'N', `Client ${name} ${ending}`);
  }

  private nextPeer(): string {
    return `1.2.3.4:${++this.port}`;
  }

  private log(who: string, leaf: string, text: string): void {
    const line = parseLogLine(`$SYS/broker/log/${leaf}`, `${this.second}: ${text}`, this.dialect, this.history);
    for (const { kind, session } of this.history.apply(line, this.second * 1_000, this.dialect)) {
      if (kind === 'opened' && !this.owners.has(session)) this.owners.set(session, who);
      if (this.owners.get(session) !== who && isPlain(session.client))
        this.wrongs.push(`"${who}" ${kind} the session of "${this.owners.get(session)}": ${text}`);
    }
    for (const [client, { topics }] of this.history.takeChanges().subscriptions)
      if (topics.size > 0 && client !== who && isPlain(client)) this.wrongs.push(`"${who}" changed subscriptions of "${client}": ${text}`);
  }
}

/** Others are the disguise of who chose such a user name or address, or look like one: those may be mistaken for each other. */
function isPlain(client: string): boolean {
  return otherIds(client, true, 1).length === 0;
}

describe.each(DIALECTS)('whatever clients call themselves, %s', (dialect) => {
  it('no line of one of them ends a session, or changes a subscription, of another', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 2, maxLength: 30 }), (steps) => {
        const broker = new Broker(dialect);
        for (const one of steps) broker.take(one);
        expect(broker.wrongs).toEqual([]);
      }),
      { numRuns: 3_000 },
    );
  });
});
