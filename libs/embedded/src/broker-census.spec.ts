import { BrokerCensus } from './broker-census.js';

describe('BrokerCensus', () => {
  it('keeps a stored session with its subscriptions, and forgets a clean one', () => {
    const census = new BrokerCensus();
    for (const [id, clean] of [['stored', false] as const, ['clean', true] as const]) {
      census.connected(id, clean);
      census.subscribed(id, 'a/+');
      census.subscribed(id, '$share/pool/b');
      census.disconnected(id);
    }
    const values = census.sample(12.7, 0);
    const topics = [
      'uptime',
      'clients/total',
      'clients/connected',
      'clients/disconnected',
      'subscriptions/count',
      'shared_subscriptions/count',
    ];
    expect(topics.map((topic) => values.get(topic))).toEqual(['12 seconds', '1', '0', '1', '2', '1']);
    census.connected('stored', true);
    expect(census.sample(13, 0).get('subscriptions/count')).toBe('0');
  });

  it('counts a retained topic once, and not after it is deleted', () => {
    const census = new BrokerCensus();
    for (const sizeBytes of [3, 5]) census.retained('a', sizeBytes);
    census.retained('b', 1);
    census.retained('b', 0);
    expect(census.sample(0, 0).get('retained messages/count')).toBe('1');
  });

  it('lets the load approach the rate per minute and decay', () => {
    const census = new BrokerCensus();
    census.traffic.messagesReceived = 10;
    // 10 in 5 s are 120 a minute; 120 * (1 - e^(-5/60))
    expect(census.sample(5, 5).get('load/messages/received/1min')).toBe('9.59');
    expect(census.sample(65, 60).get('load/messages/received/1min')).toBe('3.53');
  });
});
