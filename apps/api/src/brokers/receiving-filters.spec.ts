import { topicFilterProblem, topicMatches } from '@tallystick/mqtt';
import fc from 'fast-check';
import { firstLevelsOf, MOST_TOPIC_LEVELS, receives as matches } from './receiving-filters.js';

/** As the query asks: a filter whose first level cannot match is not read. */
const receives = (filter: string, topic: string) => firstLevelsOf(topic).includes(filter.split('/')[0]!) && matches(filter, topic);

describe('receives', () => {
  // The examples of MQTT 5 section 4.7.1 and 4.7.2.
  it.each([
    ['sport/tennis/player1/#', 'sport/tennis/player1', true],
    ['sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon', true],
    ['sport/#', 'sport', true],
    ['sport/tennis/+', 'sport/tennis/player1/ranking', false],
    ['sport/+', 'sport', false],
    ['sport/+', 'sport/', true],
    ['+/+', '/finance', true],
    ['+', '/finance', false],
    ['#', '$SYS/broker/uptime', false],
    ['$SYS/#', '$SYS/broker/uptime', true],
    ['$share/any group/veep/+/x', 'veep/a/x', true],
    ['a.b', 'axb', false],
    ['a*/[b]', 'a*/[b]', true],
  ])('%s and %s: %s', (filter, topic, expected) => expect(receives(filter, topic)).toBe(expected));

  it('fits the same filters as topicMatches', () => {
    const level = fc.constantFrom('a', 'b', '', '$', '.*', '(', '\\', ' ', 'a|b');
    const levels = (of: fc.Arbitrary<string>) => fc.array(of, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
    const topic = levels(level).filter((text) => text !== '');
    const plain = levels(fc.oneof(level, fc.constantFrom('+', '#')));
    const filter = fc.oneof(
      plain,
      plain.map((text) => `$share/g/${text}`),
    );
    const valid = filter.filter((text) => topicFilterProblem(text) === undefined);
    fc.assert(
      fc.property(valid, topic, (one, name) => expect([one, name, receives(one, name)]).toEqual([one, name, topicMatches(one, name)])),
      { numRuns: 5_000 },
    );
  });

  it('takes no longer for a filter than its length', () => {
    const levels = Array.from({ length: MOST_TOPIC_LEVELS }, () => 'a');
    const filters = Array.from({ length: 20_000 }, (_, n) => levels.map((level, at) => ((n >> (at % 15)) & 1 ? '+' : level)).join('/'));
    const topic = levels.join('/');
    const startMs = performance.now();
    expect(filters.filter((filter) => matches(filter, topic))).toHaveLength(20_000);
    expect(performance.now() - startMs).toBeLessThan(1_000);
  });
});
