import fc from 'fast-check';
import { deviceIdentity, Fleet } from './fleet.js';

const now = Date.parse('2026-11-23T10:00:00Z');
const sizes = fc
  .integer({ min: 1, max: 300 })
  .chain((devices) => fc.record({ devices: fc.constant(devices), tenants: fc.integer({ min: 1, max: devices }) }));

describe('Fleet', () => {
  it('names tenants, sites and devices from 1 on', () => {
    const fleet = new Fleet({ devices: 2, tenants: 1, topicRoot: 'veep', seed: 1, run: 'r' });
    expect([fleet.next(now), fleet.next(now), fleet.next(now)].map(({ topic }) => topic)).toEqual([
      'veep/factory1/line1/METER_0001/data',
      'veep/factory1/line1/METER_0002/data',
      'veep/factory1/line1/METER_0001/data',
    ]);
    expect(deviceIdentity(99_999, 3)).toEqual({ tenantId: 'factory1', siteId: 'line3334', deviceId: 'METER_100000' });
  });

  it('splits the devices evenly over all tenants, ten to a site, each with a name of its own', () => {
    fc.assert(
      fc.property(sizes, ({ devices, tenants }) => {
        const identities = Array.from({ length: devices }, (_, index) => deviceIdentity(index, tenants));
        const perTenant = countBy(identities.map(({ tenantId }) => tenantId));
        expect(perTenant.size).toBe(tenants);
        expect(Math.max(...perTenant.values()) - Math.min(...perTenant.values())).toBeLessThanOrEqual(1);
        expect(Math.max(...countBy(identities.map(({ tenantId, siteId }) => `${tenantId}/${siteId}`)).values())).toBeLessThanOrEqual(10);
        expect(new Set(identities.map(({ deviceId }) => deviceId)).size).toBe(devices);
      }),
    );
  });

  it('sends what the device of the topic measures, the same for the same seed', () => {
    fc.assert(
      fc.property(sizes, fc.integer({ min: 0, max: 2 ** 32 - 1 }), ({ devices, tenants }, seed) => {
        const options = { devices, tenants, topicRoot: 'a/b', seed, run: 'r' };
        const [one, two] = [new Fleet(options), new Fleet(options)];
        for (let i = 0; i < 2 * devices; i++) {
          const message = one.next(now + i);
          expect(two.next(now + i)).toEqual(message);
          expect(message.topic.split('/')[4]).toBe((JSON.parse(message.payload) as { deviceId: string }).deviceId);
        }
      }),
      { numRuns: 30 },
    );
  });
});

function countBy(names: string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}
