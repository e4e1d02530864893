import { topicFilterProblem, topicMatches } from './topic-filter.js';

describe('topicMatches', () => {
  // The examples of MQTT 5 section 4.7.1 and 4.7.2, and of 4.8.2.
  it.each([
    ['sport/tennis/player1/#', 'sport/tennis/player1', true],
    ['sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon', true],
    ['sport/#', 'sport', true],
    ['#', 'a/b', true],
    ['sport/tennis/+', 'sport/tennis/player1', true],
    ['sport/tennis/+', 'sport/tennis/player1/ranking', false],
    ['sport/+', 'sport', false],
    ['sport/+', 'sport/', true],
    ['+/+', '/finance', true],
    ['/+', '/finance', true],
    ['+', '/finance', false],
    ['#', '$SYS/broker/uptime', false],
    ['+/monitor/Clients', '$SYS/monitor/Clients', false],
    ['$SYS/#', '$SYS/broker/uptime', true],
    ['$SYS/monitor/+', '$SYS/monitor/Clients', true],
    ['$share/group/veep/+/x', 'veep/a/x', true],
    ['a/b', 'a/B', false],
  ])('%s and %s: %s', (filter, topic, expected) => {
    expect(topicMatches(filter, topic)).toBe(expected);
  });
});

describe('topicFilterProblem', () => {
  it.each(['a/b', '+/+/#', '#', '/', 'a//b', '$share/g/a/#', '$SYS/#'])('accepts %j', (filter) => {
    expect(topicFilterProblem(filter)).toBeUndefined();
  });
  it.each(['', 'a/b#', 'a/#/b', 'a+/b', 'a\0b', '$share/', '$share//a', '$share/g', '$share/g+/a', 'x'.repeat(65_536)])(
    'refuses %j',
    (filter) => {
      expect(topicFilterProblem(filter)).toEqual(expect.any(String));
    },
  );
});
