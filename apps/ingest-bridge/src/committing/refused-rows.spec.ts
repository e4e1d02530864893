import { message as messageOf } from '../../test/messages.js';
import type { Rejection, TelemetryMessage } from '../intake/telemetry-message.js';
import { splitAfterRefusal } from './refused-rows.js';

const message = (payload: string) => messageOf('t', payload);
const refused = Object.assign(new Error('invalid input syntax for type json'), { code: '22P02' });

/** Commits through a database that refuses some payloads; how many transactions it took, and what ended where. */
function commitAll(work: { messages: TelemetryMessage[]; rejections: Rejection[] }, isRefused: (message: TelemetryMessage) => boolean) {
  const outcome = { tries: 0, stored: [] as TelemetryMessage[], quarantined: [] as Rejection[] };
  const commit = (part: typeof work): void => {
    outcome.tries += 1;
    if (part.messages.some(isRefused)) return splitAfterRefusal(part, refused).forEach(commit);
    outcome.stored.push(...part.messages);
    outcome.quarantined.push(...part.rejections);
  };
  commit(work);
  return outcome;
}

describe('splitAfterRefusal', () => {
  it('finds one bad row among 500 in about log2 tries and keeps the others in order', () => {
    const messages = Array.from({ length: 500 }, (_, i) => message(`${i}`));
    const { stored, quarantined, tries } = commitAll({ messages, rejections: [] }, (candidate) => candidate.payload.toString() === '317');
    expect(stored.map((kept) => kept.payload.toString())).toEqual(
      messages.map((sent) => sent.payload.toString()).filter((payload) => payload !== '317'),
    );
    expect(quarantined).toMatchObject([
      {
        reason: 'database_refused',
        payload: Buffer.from('317'),
        detail: 'PostgreSQL refused it (22P02): invalid input syntax for type json',
      },
    ]);
    // Ten splits to find it, each with a good half beside it, then twice the row itself.
    expect(tries).toBeLessThanOrEqual(2 * Math.ceil(Math.log2(500)) + 3);
  });

  it('stores a message without its searchable copy when only that is refused', () => {
    const { stored, quarantined } = commitAll(
      { messages: [message('1'), message('2')], rejections: [] },
      (candidate) => candidate.rawData === '2',
    );
    expect(stored).toMatchObject([
      { rawData: '1' },
      { rawData: null, rawDataError: expect.stringContaining('22P02'), payload: Buffer.from('2') },
    ]);
    expect(quarantined).toEqual([]);
  });

  it('keeps the deduplication key of what it quarantines', () => {
    const named = messageOf('t', '1', { deduplicationKey: 'name' });
    const { quarantined } = commitAll({ messages: [named], rejections: [] }, () => true);
    expect(quarantined).toMatchObject([{ keyHash: named.keyHash }]);
  });

  it('never gives up a message that was not refused by itself', () => {
    const messages = Array.from({ length: 64 }, (_, i) => message(`${i}`));
    const isBad = (candidate: TelemetryMessage) => Number(candidate.payload.toString()) % 7 === 0;
    const { stored, quarantined } = commitAll({ messages, rejections: [] }, isBad);
    expect(stored).toHaveLength(54);
    expect(quarantined).toHaveLength(10);
  });
});
