import fc from 'fast-check';
import { EnergyMeter } from './energy-meter.js';

const seed = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const time = fc.integer({ min: Date.UTC(2020, 0), max: Date.UTC(2040, 0) });
const times = fc.array(time, { minLength: 1, maxLength: 60 });
const meter = (value: number) => new EnergyMeter({ deviceId: 'METER_0001', run: 'a1b2c3d4e5f6', seed: value });

describe('EnergyMeter', () => {
  it('never counts backwards, even when the clock goes back', () => {
    fc.assert(
      fc.property(seed, times, (value, at) => {
        const one = meter(value);
        const readings = at.map((ms) => one.read(ms).kwh);
        for (let i = 1; i < readings.length; i++) expect(readings[i]!).toBeGreaterThanOrEqual(readings[i - 1]!);
      }),
    );
  });

  it('counts what it draws: the counter of an hour fits the power in it', () => {
    const one = meter(7);
    const start = Date.parse('2026-11-23T10:00:00Z');
    const readings = Array.from({ length: 3601 }, (_, second) => one.read(start + second * 1000));
    const meanKw = readings.reduce((sum, { power }) => sum + power, 0) / readings.length / 1000;
    expect(readings.at(-1)!.kwh - readings[0]!.kwh).toBeCloseTo(meanKw, 0);
    expect(meanKw).toBeGreaterThan(1);
  });

  it('goes on where an earlier simulation of the same seed was', () => {
    const start = Date.parse('2026-11-23T10:00:00Z');
    const earlier = meter(3);
    for (let second = 0; second < 100; second++) earlier.read(start + second * 1000);
    expect(meter(3).read(start + 100_000).kwh).toBe(earlier.read(start + 100_000).kwh);
  });

  it('stays in the ranges of a real meter', () => {
    fc.assert(
      fc.property(seed, times, (value, at) => {
        const one = meter(value);
        for (const ms of at) {
          const reading = one.read(ms);
          expect(reading.timestamp).toBe(Math.floor(ms / 1000));
          expect(reading.kwh).toBeGreaterThanOrEqual(0);
          expectBetween(reading.power, 100, 35_000);
          expectBetween(reading.voltage, 220, 240);
          expectBetween(reading.power_factor, 0.8, 1);
          expectBetween(reading.frequency, 49.9, 50.1);
          expectBetween(reading.temperature, 10, 50);
          expectBetween(reading.metadata.signal_strength, -100, -40);
          expect(reading.current).toBeCloseTo(reading.power / (reading.voltage * reading.power_factor), 1);
        }
      }),
    );
  });

  it('is JSON of 200 to 500 bytes, the same before and after', () => {
    fc.assert(
      fc.property(seed, time, (value, ms) => {
        const reading = meter(value).read(ms);
        const text = JSON.stringify(reading);
        expect(JSON.parse(text)).toEqual(reading);
        expectBetween(Buffer.byteLength(text), 200, 500);
      }),
    );
  });

  it('says the same for the same seed and times, and something else for another seed', () => {
    fc.assert(
      fc.property(seed, times, (value, at) => {
        const [one, two, other] = [meter(value), meter(value), meter(value ^ 1)];
        const said = at.map((ms) => one.read(ms));
        expect(at.map((ms) => two.read(ms))).toEqual(said);
        expect(at.map((ms) => other.read(ms))).not.toEqual(said);
      }),
    );
  });
});

function expectBetween(value: number, min: number, max: number): void {
  expect(value).toBeGreaterThanOrEqual(min);
  expect(value).toBeLessThanOrEqual(max);
}
