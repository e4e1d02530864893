import { exitCodeOf, progressLine, resultLines, type SimulationResult } from './simulation-result.js';

const good: SimulationResult = {
  published: 1_000,
  acknowledged: 1_000,
  refused: 0,
  withoutSubscriber: 0,
  run: 'r',
  stored: 1_000,
  elapsedMs: 2_000,
  interrupted: false,
};

describe('exitCodeOf', () => {
  it.each<[number, string, Partial<SimulationResult>]>([
    [0, 'all stored', {}],
    [0, 'nobody asked', { stored: undefined }],
    [0, 'some sent twice', { stored: 1_001 }],
    [1, 'one not acknowledged', { acknowledged: 999, stored: 999 }],
    [1, 'one refused', { acknowledged: 999, refused: 1, stored: 999 }],
    [1, 'one not stored', { stored: 999 }],
    [1, 'the record did not answer', { stored: undefined, recordProblem: 'gone' }],
    [130, 'Ctrl-C', { interrupted: true }],
  ])('is %i: %s', (code, _case, change) => expect(exitCodeOf({ ...good, ...change })).toBe(code));
});

describe('resultLines', () => {
  it('is three lines when all is well', () => {
    expect(resultLines(good)).toEqual([
      'published     1,000 in 2.0 s (500.0/s)',
      'acknowledged  1,000 by the broker',
      'stored        1,000',
    ]);
  });

  it.each<[string, Partial<SimulationResult>]>([
    ['not asked', { stored: undefined }],
    ['unknown (gone)', { stored: undefined, recordProblem: 'gone' }],
    ['refused 2: Not authorized', { acknowledged: 998, refused: 2, refusal: 'Not authorized' }],
    ['did not answer 3', { acknowledged: 997 }],
    ['Nobody was subscribed to 1,000', { withoutSubscriber: 1_000, stored: 0 }],
    ['10 are not in the record', { stored: 990 }],
    ['More are stored', { stored: 1_010 }],
  ])('says "%s"', (text, change) => expect(resultLines({ ...good, ...change }).join('\n')).toContain(text));
});

describe('progressLine', () => {
  const progress = { ...good, elapsedMs: 3_725_000, ratePerS: 99.96, inFlight: 2 };

  it('shows time, counts and rate', () => {
    expect(progressLine(progress)).toBe('01:02:05  published 1,000  acknowledged 1,000  100.0/s  in flight 2');
    expect(progressLine({ ...progress, elapsedMs: 5_000 })).toMatch(/^00:05 {2}published/);
  });

  it('says why nothing moves', () => {
    expect(progressLine({ ...progress, problem: 'the connection is lost' })).toMatch(/ {2}\(the connection is lost; reconnecting\)$/);
  });
});
