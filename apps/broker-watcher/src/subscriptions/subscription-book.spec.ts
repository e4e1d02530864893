import type { ConnectDetails } from '../log-lines/log-line.js';
import type { Session } from '../sessions/session.js';
import { SubscriptionBook } from './subscription-book.js';

function session(connect: ConnectDetails | null): Session {
  return {
    id: undefined,
    client: 'c',
    username: null,
    startMs: 0,
    seenMs: 0,
    endMs: null,
    address: null,
    port: null,
    connect,
    endReason: null,
    endedBy: null,
    startUncertain: false,
    endUncertain: false,
  };
}

const details = (protocolVersion: number, cleanStart: boolean): ConnectDetails => ({ protocolVersion, cleanStart, keepaliveS: 60 });

describe('subscriptions', () => {
  it('are upserted with their latest qos and left by unsubscribing', () => {
    const book = new SubscriptionBook();
    const own = session(details(4, true));
    book.subscribe('c', 't', 1, own, 1);
    book.subscribe('c', 't', 2, own, 2);
    expect([...book.takeChanges().get('c')!.topics]).toEqual([['t', { qos: 2, active: true, uncertain: false, session: own, atMs: 2 }]]);
    book.unsubscribe('c', 't', own, 3);
    expect(book.takeChanges().get('c')!.topics.get('t')).toMatchObject({ qos: null, active: false });
    expect(book.takeChanges().size).toBe(0);
  });

  it.each([
    ['a clean session of MQTT 3.1.1', details(4, true), 'dropped', false, false],
    ['a stored session of MQTT 3.1.1', details(4, false), undefined, true, false],
    ['a clean start of MQTT 5, which may have an expiry', details(5, true), 'lost', false, true],
    ['a stored session of MQTT 5, which may have none', details(5, false), 'doubtful', true, true],
    ['a session that began unseen', null, 'doubtful', true, true],
  ])('after %s', (_, connect, fate, active, uncertain) => {
    const book = new SubscriptionBook();
    const own = session(connect);
    book.subscribe('c', 't', 1, own, 1);
    book.closed(own);
    const changes = book.takeChanges().get('c')!;
    expect(changes.fate).toBe(fate);
    expect(changes.topics.get('t')).toMatchObject({ active, uncertain });
  });

  it('are dropped by a clean start and by the end of the stored session, whatever was in doubt before', () => {
    const book = new SubscriptionBook();
    const own = session(details(5, false));
    book.subscribe('c', 't', 1, own, 1);
    book.closed(own);
    book.expired('c');
    expect(book.takeChanges().get('c')).toMatchObject({
      fate: 'dropped',
      topics: new Map([['t', expect.objectContaining({ active: false, uncertain: false })]]),
    });
    book.opened(session(details(5, true)));
    book.subscribe('c', 'later', 0, own, 2);
    const changes = book.takeChanges().get('c')!;
    expect(changes.fate).toBe('dropped');
    expect(changes.topics.get('later')).toMatchObject({ active: true });
  });
});
