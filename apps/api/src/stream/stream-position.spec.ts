import { OVERLAP_MS, receivedMsOf, StreamPosition } from './stream-position.js';

const NOW = Date.parse('2026-11-21T08:00:00Z');

function idAt(ms: number, last = 0): string {
  const time = ms.toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${String(last).padStart(12, '0')}`;
}

describe('StreamPosition', () => {
  it('reads the time of a UUIDv7', () => {
    // RFC 9562 appendix A.6
    expect(receivedMsOf('017f22e2-79b0-7cc3-98c4-dc0c0c07398f')).toBe(0x017f22e279b0);
  });

  it('looks back by the overlap, remembers what it took there, and forgets what is older', () => {
    const position = new StreamPosition(NOW);
    position.take([idAt(NOW + 1_000), idAt(NOW + 2_000)], NOW + 60_000);
    expect(position.fromMs).toBe(NOW + 2_000 - OVERLAP_MS);
    position.take([idAt(NOW + 500)], NOW + 60_000);
    expect(position.fromMs).toBe(NOW + 2_000 - OVERLAP_MS);
    expect(position.takenIds.sort()).toEqual([500, 1_000, 2_000].map((ms) => idAt(NOW + ms)));
    position.take([idAt(NOW + 1_500 + OVERLAP_MS)], NOW + 60_000);
    expect(position.takenIds).toEqual([idAt(NOW + 2_000), idAt(NOW + 1_500 + OVERLAP_MS)]);
  });

  it('is not carried away by a message from the future, and does not take it twice', () => {
    const position = new StreamPosition(NOW);
    position.take([idAt(NOW + 3_600_000)], NOW + 10);
    expect(position.fromMs).toBe(NOW + 10 - OVERLAP_MS);
    expect(position.takenIds).toEqual([idAt(NOW + 3_600_000)]);
  });

  it('follows the clock where nothing comes', () => {
    const position = StreamPosition.now(NOW);
    const { fromMs } = position;
    position.catchUp(NOW + 3_600_000);
    expect(position.fromMs - fromMs).toBe(3_600_000);
    position.catchUp(NOW);
    expect(position.fromMs - fromMs).toBe(3_600_000);
  });

  it('never begins before 1970', () => {
    expect(new StreamPosition(0).fromMs).toBe(0);
  });
});
