import { BrokerVitals } from './broker-vitals.js';

const T = 1_700_000_000_000;

describe('BrokerVitals', () => {
  it('knows when the broker began, the better the more values come', () => {
    const vitals = new BrokerVitals();
    expect(vitals.noteUptime({ uptimeS: 10, atMs: T + 2_500, retained: true })).toBeUndefined();
    expect(vitals.startedAtMs).toBe(T - 7_500);
    expect(vitals.noteUptime({ uptimeS: 20, atMs: T + 10_100, retained: false })).toBeUndefined();
    expect(vitals.startedAtMs).toBe(T - 9_900);
  });

  it('tells of a new run, not later than it can have begun', () => {
    const vitals = new BrokerVitals();
    vitals.noteUptime({ uptimeS: 100, atMs: T, retained: false });
    expect(vitals.noteUptime({ uptimeS: 5, atMs: T + 60_000, retained: false })).toBe(T + 53_000);
    expect(vitals.noteUptime({ uptimeS: 0, atMs: T + 90_000, retained: true })).toBe(T + 60_000);
  });

  it('notices dropping only while it goes on', () => {
    const vitals = new BrokerVitals();
    vitals.noteDropped(7);
    expect(vitals.dropping).toBe(false);
    vitals.noteDropped(8);
    expect(vitals.dropping).toBe(true);
  });
});
