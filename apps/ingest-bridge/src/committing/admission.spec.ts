import { AcknowledgementWindow, RedeliveryLedger } from '@tallystick/mqtt';
import { message, packet } from '../../test/messages.js';
import { DeviceAllowance } from '../devices/device-allowance.js';
import { rejection } from '../intake/telemetry-message.js';
import { Admission } from './admission.js';

const window = new AcknowledgementWindow(1);
const delivery = (deduplicationKey?: string) => ({ deduplicationKey, receipt: window.hold(window.size + 1) });
const refused = (key?: string) => rejection(packet('t', 'x', delivery(key)), { reason: 'not_json', detail: 'x', tenantId: 't' });

/** Admission over a database that has messages under these keys; and what it was asked. */
function admissionOver(
  storedKeyHashes: (string | undefined)[],
  newDevices: string[] = [],
  ledger = new RedeliveryLedger(10),
  perMinute = 1,
) {
  const asked: (readonly string[])[] = [];
  const queries = {
    findStoredKeys: (keyHashes: readonly string[]) => {
      asked.push(keyHashes);
      return Promise.resolve(new Set(keyHashes.filter((keyHash) => storedKeyHashes.includes(keyHash))));
    },
    findStored: () => Promise.resolve(new Set<never>()),
    findNewDevices: () => Promise.resolve(new Set(newDevices)),
  };
  return { admission: new Admission(queries, ledger, new DeviceAllowance(perMinute)), asked };
}

describe('Admission, by deduplication key', () => {
  it('lets the first of a key in, of messages and rejections together, and nothing that is stored', async () => {
    const stored = message('t', '1', delivery('stored'));
    const messages = [message('t', '1', delivery('a')), stored, message('t', '1', delivery('b')), message('t', '2', delivery('a'))];
    const rejections = [refused('b'), refused('c'), refused('c')];
    const { admission } = admissionOver([stored.keyHash]);
    const admitted = await admission.check({ messages, rejections, duplicates: [undefined] }, 0);
    expect(admitted.messages).toEqual([messages[0], messages[2]]);
    expect(admitted.rejections).toEqual([rejections[1]]);
    expect(admitted.duplicates).toEqual([
      undefined,
      ...[stored, messages[3]!, rejections[0]!, rejections[2]!].map(({ receipt }) => receipt),
    ]);
  });

  it('believes the key and not the ledger, which stays as exact as without keys', () => {
    const ledger = new RedeliveryLedger(2);
    const { admission } = admissionOver([], [], ledger);
    const on = (connection: number, packetId: number, deduplicationKey?: string) =>
      message('t', '1', { deduplicationKey, receipt: new AcknowledgementWindow(connection, true, 10).hold(packetId) });
    const first = [on(1, 1, 'a'), on(1, 2)];
    expect(admission.sift(first, []).messages).toEqual(first);
    // Packet identifiers have come round for one; the other one is delivered again. Both entries are still needed, and there.
    for (const connection of [2, 3, 4]) {
      const [another, again] = [on(connection, 1, `${connection}`), on(connection, 2)];
      expect(admission.sift([another, again], [])).toEqual({ messages: [another], rejections: [], duplicates: [again.receipt] });
    }
    expect(ledger.size).toBe(2);
  });

  it('does not ask about messages without a key, and lets equal ones in', async () => {
    const { admission, asked } = admissionOver([]);
    const messages = [message('t', '1', delivery()), message('t', '1', delivery())];
    expect((await admission.check({ messages, rejections: [refused()], duplicates: [] }, 0)).messages).toEqual(messages);
    expect(asked).toEqual([]);
  });

  it('keeps the key of a message beyond the device limit', async () => {
    const { admission } = admissionOver([], ['t\0d', 'u\0d']);
    const messages = [message('t', '1', delivery('a')), message('u', '1', delivery('b'))];
    const { rejections } = await admission.check({ messages, rejections: [], duplicates: [] }, 0);
    expect(rejections).toMatchObject([{ reason: 'device_limit', keyHash: messages[1]!.keyHash }]);
  });
});

describe('Admission, of replays', () => {
  const replayed = (tenantId: string) => ({ ...message(tenantId), replayOf: `rejection of ${tenantId}` });

  it('neither records them nor takes them for a redelivery, nor for a stored retained message', async () => {
    const ledger = new RedeliveryLedger(10);
    const { admission, asked } = admissionOver([], [], ledger);
    const work = [
      [replayed('t'), replayed('t')],
      [rejection(packet('t', 'x'), { reason: 'not_json', detail: 'x', tenantId: 't' }, 'id')],
    ] as const;
    const sifted = admission.sift(work[0], work[1]);
    expect(await admission.check(sifted, 0)).toEqual({ messages: work[0], rejections: work[1], duplicates: [] });
    expect([ledger.size, asked]).toEqual([0, []]);
  });

  it('leaves half of the new devices of a minute to those that send now', async () => {
    const { admission } = admissionOver([], ['a\0d', 'b\0d', 'c\0d', 'd\0d', 'e\0d'], new RedeliveryLedger(10), 4);
    const messages = [replayed('a'), replayed('b'), replayed('c'), message('d'), message('e'), replayed('e')];
    const admitted = await admission.check({ messages, rejections: [], duplicates: [] }, 0);
    expect(admitted.messages).toEqual([messages[0], messages[1], messages[3], messages[4], messages[5]]);
    expect(admitted.rejections).toMatchObject([{ reason: 'device_limit', replayOf: 'rejection of c' }]);
  });
});
