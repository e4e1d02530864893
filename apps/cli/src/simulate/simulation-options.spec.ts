import { parseSimulation, type SimulateArguments } from './simulation-options.js';

const defaults: SimulateArguments = { devices: '10', rate: '10', tenants: '1', count: '0', topicRoot: 'veep', seed: '1', qos: '1' };

function problemsOf(typed: Partial<SimulateArguments>): readonly string[] {
  const parsed = parseSimulation({ ...defaults, ...typed });
  return parsed.kind === 'invalid' ? parsed.problems : [];
}

describe('parseSimulation', () => {
  it('takes the defaults and the limits', () => {
    expect(parseSimulation(defaults)).toEqual({
      kind: 'plan',
      plan: { devices: 10, rate: 10, tenants: 1, count: 0, topicRoot: 'veep', seed: 1, qos: 1 },
    });
    expect(
      problemsOf({ devices: '100000', tenants: '100000', rate: '0', seed: '4294967295', qos: '2', count: '9007199254740991' }),
    ).toEqual([]);
    expect(problemsOf({ rate: '0.1', topicRoot: 'plant/7', broker: 'mqtts://b:8883', api: 'https://api.example' })).toEqual([]);
  });

  it.each<[keyof SimulateArguments, string]>([
    ['devices', '0'],
    ['devices', '100001'],
    ['devices', '1.5'],
    ['devices', ''],
    ['tenants', '0'],
    ['tenants', '11'],
    ['rate', '-1'],
    ['rate', 'fast'],
    ['rate', '1e3'],
    ['rate', 'Infinity'],
    ['rate', '1000001'],
    ['count', '-1'],
    ['count', '9007199254740993'],
    ['seed', '4294967296'],
    ['topicRoot', ''],
    ['topicRoot', 'a//b'],
    ['topicRoot', '/a'],
    ['topicRoot', 'a/#'],
    ['topicRoot', '$SYS'],
    ['topicRoot', 'x'.repeat(101)],
    ['qos', '0'],
    ['qos', '3'],
    ['broker', '127.0.0.1:1883'],
    ['broker', 'http://b'],
    ['broker', 'mqtt://'],
    ['api', 'ftp://x'],
  ])('refuses --%s %j with one message that names it', (option, text) => {
    const problems = problemsOf({ [option]: text });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(`--${option === 'topicRoot' ? 'topic-root' : option} `);
  });

  it('lists every problem at once, and no secret of a URL', () => {
    const problems = problemsOf({ devices: 'x', rate: 'y', broker: 'htp://me:hidden@b' });
    expect(problems).toHaveLength(3);
    expect(problems.join()).not.toContain('hidden');
  });
});
