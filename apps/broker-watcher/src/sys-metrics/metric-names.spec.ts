import { MetricNames } from './metric-names.js';

describe('MetricNames', () => {
  it('admits so many, and those again', () => {
    const names = new MetricNames(3);
    expect(['a', 'b', 'a', 'c', 'd', 'b', 'e'].map((name) => names.admits(name))).toEqual([true, true, true, true, false, true, false]);
  });
});
