import { hasRestarted, startedAtMs, type Uptime } from './uptime.js';

const NOW = 1_700_000_000_000;
const at = (uptimeS: number, s: number, retained = false): Uptime => ({ uptimeS, atMs: NOW + s * 1_000, retained });

describe('uptime', () => {
  it('tells when the broker started', () => expect(startedAtMs(at(60, 0))).toBe(NOW - 60_000));

  it.each([
    ['goes on', at(100, 0), at(105, 5), false],
    ['comes late', at(100, 0), at(100, 20), false],
    ['is the retained value of a broker that says it once in five minutes', at(100, 0), at(100, 300, true), false],
    ['drifts by a slow clock within a day', at(100, 0), at(86_100, 86_400), false],
    ['goes back', at(100, 0), at(99, 5), true],
    ['begins anew', at(100, 0), at(0, 5, true), true],
    ['has outgrown what it was, while nobody looked', at(10, 0), at(50, 600), true],
  ])('%s', (_, before, now, restarted) => expect(hasRestarted(before, now)).toBe(restarted));
});
