import { brokerAdvice, type BrokerNeeds } from './broker-advice.js';

const needs: BrokerNeeds = {
  maxUnacknowledged: 4000,
  maxPayloadBytes: 262_144,
  sharedGroup: undefined,
  sessionExpiryS: 604_800,
  dedupKey: undefined,
};

describe('brokerAdvice', () => {
  it('has nothing to say of a broker that offers what is needed', () => {
    expect(brokerAdvice({ protocolVersion: 5 }, needs)).toEqual([]);
    expect(
      brokerAdvice({ protocolVersion: 5, maximumQoS: 1, maximumPacketSize: 1_000_000, sessionExpiryInterval: 604_800 }, needs),
    ).toEqual([]);
  });

  it.each([
    [{ protocolVersion: 4 as const }, 'max_inflight_messages 4000'],
    [{ protocolVersion: 5 as const, maximumQoS: 0 }, 'max_qos 2'],
    [{ protocolVersion: 5 as const, maximumPacketSize: 1000 }, 'max_packet_size 263168'],
    [{ protocolVersion: 5 as const, sessionExpiryInterval: 3600 }, 'persistent_client_expiration 7d'],
  ])('%j needs %s', (offer, line) => {
    expect(brokerAdvice(offer, needs)).toEqual([expect.stringContaining(line)]);
  });

  it('misses MQTT 5 for its user properties only where one is configured', () => {
    expect(brokerAdvice({ protocolVersion: 4 }, { ...needs, dedupKey: 'id' })).toContainEqual(expect.stringContaining('DEDUP_KEY'));
    expect(brokerAdvice({ protocolVersion: 5 }, { ...needs, dedupKey: 'id' })).toEqual([]);
  });

  it('misses shared subscriptions only where they are configured', () => {
    const offer = { protocolVersion: 5 as const, sharedSubscriptionAvailable: false };
    expect(brokerAdvice(offer, needs)).toEqual([]);
    expect(brokerAdvice(offer, { ...needs, sharedGroup: 'g' })).toEqual([expect.stringContaining('MQTT_SHARED_GROUP')]);
  });
});
