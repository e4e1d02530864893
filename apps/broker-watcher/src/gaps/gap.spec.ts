import { gapAfter } from './gap.js';

const T = 1_700_000_000_000;

describe('gapAfter', () => {
  it.each([
    ['never watched before', undefined, T, true, undefined],
    ['a short absence, the session kept', T, T + 20_000, true, undefined],
    ['a long absence', T, T + 60_000, true, { fromMs: T, toMs: T + 40_000, reason: 'watcher_down' }],
    ['a short absence, the session lost', T, T + 1_000, false, { fromMs: T, toMs: T + 1_000, reason: 'watcher_down' }],
    ['a clock set back', T, T - 5_000, false, { fromMs: T, toMs: T, reason: 'watcher_down' }],
  ])('%s', (_, watchedUntilMs, connectedAtMs, resumed, gap) =>
    expect(gapAfter({ watchedUntilMs, connectedAtMs, resumed, version: undefined, isFirst: true })).toEqual(gap),
  );

  it('was not the process when that had been connected before', () => {
    const absence = { watchedUntilMs: T, connectedAtMs: T + 60_000, resumed: true, version: 'mosquitto version 2.0.11' };
    expect(gapAfter({ ...absence, isFirst: false })?.reason).toBe('log_expired');
  });

  it('is as long as the absence from a broker that keeps no lines', () => {
    const absence = { watchedUntilMs: T, connectedAtMs: T + 1_000, resumed: true, isFirst: true };
    expect(gapAfter({ ...absence, version: 'aedes version 1.2.0' })).toEqual({ fromMs: T, toMs: T + 1_000, reason: 'watcher_down' });
    expect(gapAfter({ ...absence, version: 'mosquitto version 2.0.11' })).toBeUndefined();
  });
});
