import { DeviceAllowance } from './device-allowance.js';

describe('DeviceAllowance', () => {
  it('gives as many as a minute has, then as they come back', () => {
    const allowance = new DeviceAllowance(60);
    expect(Array.from({ length: 61 }, () => allowance.take(1000)).filter(Boolean)).toHaveLength(60);
    expect(allowance.take(1500)).toBe(false);
    expect(allowance.take(2001)).toBe(true);
    expect(allowance.take(2001)).toBe(false);
  });

  it('keeps half for those who send now', () => {
    const allowance = new DeviceAllowance(60);
    const take = (spareOnly: boolean) => Array.from({ length: 61 }, () => allowance.take(1000, spareOnly)).filter(Boolean).length;
    expect([take(true), take(false)]).toEqual([30, 30]);
    for (const few of [1, 2]) expect(new DeviceAllowance(few).take(0, true)).toBe(true);
  });

  it('does not save up more than a minute', () => {
    const allowance = new DeviceAllowance(3);
    allowance.take(0);
    expect(Array.from({ length: 10 }, () => allowance.take(3_600_000)).filter(Boolean)).toHaveLength(3);
  });
});
