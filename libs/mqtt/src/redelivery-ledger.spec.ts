import { hash } from 'node:crypto';
import fc from 'fast-check';
import { type Delivery, RedeliveryLedger } from './redelivery-ledger.js';

const delivery = (connection: number, packetId = 1, payloadHash = 'aa', topic = 't'): Delivery => ({
  connection,
  packetId,
  payloadHash,
  topic,
});

describe('RedeliveryLedger', () => {
  it('knows a delivery again on a later connection, once', () => {
    const ledger = new RedeliveryLedger(10);
    ledger.record(delivery(1));
    expect(ledger.takeRepeat(delivery(1))).toBe(false); // the same connection: a new message that reuses the identifier
    expect(ledger.takeRepeat(delivery(2))).toBe(true);
    expect(ledger.takeRepeat(delivery(2))).toBe(false);
  });

  it('knows it again after each further reconnect: the acknowledgement of the repeat can be lost too', () => {
    const ledger = new RedeliveryLedger(10);
    ledger.record(delivery(0));
    for (const connection of [1, 2, 3]) expect(ledger.takeRepeat(delivery(connection))).toBe(true);
  });

  it.each([delivery(2, 9), delivery(2, 1, 'bb'), delivery(2, 1, 'aa', 'u')])('takes nothing else for a repeat (%j)', (other) => {
    const ledger = new RedeliveryLedger(10);
    ledger.record(delivery(1));
    expect(ledger.takeRepeat(other)).toBe(false);
  });

  it('matches as many repeats as there were deliveries', () => {
    const ledger = new RedeliveryLedger(10);
    ledger.record(delivery(1));
    ledger.record(delivery(1));
    expect([1, 2, 3].map(() => ledger.takeRepeat(delivery(2)))).toEqual([true, true, false]);
  });

  it('knows a topic that is too long to be kept, also by the hash that the database gives', () => {
    const topic = 'ü'.repeat(30_000);
    const ledger = new RedeliveryLedger(10);
    ledger.record(delivery(1, 1, 'aa', topic));
    expect(ledger.takeRepeat(delivery(2, 1, 'aa', `${topic}x`))).toBe(false);
    expect(ledger.takeRepeat(delivery(2, 1, 'aa', topic))).toBe(true);
    ledger.record(delivery(0, 2, 'aa', `#${hash('sha256', topic, 'hex')}`));
    expect(ledger.takeRepeat(delivery(1, 2, 'aa', topic))).toBe(true);
  });

  it('holds its capacity and forgets the oldest', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(5), { maxLength: 60 }), fc.integer({ min: 1, max: 8 }), (packetIds, capacity) => {
        const ledger = new RedeliveryLedger(capacity);
        for (const packetId of packetIds) ledger.record(delivery(1, packetId));
        expect(ledger.size).toBe(Math.min(capacity, packetIds.length));
        const kept = packetIds.slice(-capacity);
        for (let packetId = 0; packetId <= 5; packetId++) {
          for (let n = kept.filter((id) => id === packetId).length; n > 0; n--) expect(ledger.takeRepeat(delivery(2, packetId))).toBe(true);
          expect(ledger.takeRepeat(delivery(2, packetId))).toBe(false);
        }
      }),
    );
  });
});
