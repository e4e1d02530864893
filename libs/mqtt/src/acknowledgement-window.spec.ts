import fc from 'fast-check';
import { AcknowledgementWindow } from './acknowledgement-window.js';

function packetIds(packets: Buffer): number[] {
  const ids: number[] = [];
  for (let at = 0; at < packets.length; at += 4) {
    expect([packets[at], packets[at + 1]]).toEqual([0x40, 0x02]);
    ids.push(packets.readUInt16BE(at + 2));
  }
  return ids;
}

describe('AcknowledgementWindow', () => {
  it('sends nothing before the oldest message is settled, then all that is settled behind it', () => {
    const window = new AcknowledgementWindow();
    const [first, second, third] = [window.hold(7), window.hold(65535), window.hold(1)];
    second.settled = true;
    expect(window.takeSettled()).toHaveLength(0);
    first.settled = true;
    expect(packetIds(window.takeSettled())).toEqual([7, 65535]);
    expect(window.size).toBe(1);
    third.settled = true;
    expect(packetIds(window.takeSettled())).toEqual([1]);
    expect(window.takeSettled()).toHaveLength(0);
  });

  it('acknowledges each message once, in order of receipt, whatever the order of settling', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ holds: fc.nat(5), settles: fc.array(fc.nat(100), { maxLength: 5 }) }), { maxLength: 40 }),
        (steps) => {
          const window = new AcknowledgementWindow();
          const held = [];
          const sent: number[] = [];
          for (const step of steps) {
            for (let i = 0; i < step.holds; i++) held.push(window.hold((held.length % 65535) + 1));
            for (const pick of step.settles) if (held[pick]) held[pick].settled = true;
            sent.push(...packetIds(window.takeSettled()));
          }
          const firstUnsettled = held.findIndex((receipt) => !receipt.settled);
          const expected = held.slice(0, firstUnsettled === -1 ? held.length : firstUnsettled);
          expect(sent).toEqual(expected.map((receipt) => receipt.packetId));
          expect(window.size).toBe(held.length - sent.length);
        },
      ),
    );
  });

  it('counts the payload bytes it holds', () => {
    const window = new AcknowledgementWindow();
    const [first] = [window.hold(1, 100), window.hold(2, 50)];
    first.settled = true;
    window.takeSettled();
    expect(window.sizeBytes).toBe(50);
  });

  it('takes a delivery for a possible repeat only on a resumed session: with DUP, or within the first window', () => {
    expect(new AcknowledgementWindow(1, false, 2).hold(1, 0, true).mayRepeat).toBe(false);
    const resumed = new AcknowledgementWindow(2, true, 2);
    expect([false, false, false, true].map((duplicate, i) => resumed.hold(i + 1, 0, duplicate).mayRepeat)).toEqual([
      true,
      true,
      false,
      true,
    ]);
  });
});
