import { matchTopicPattern, parseTopicPattern, type TopicPattern } from './topic-pattern.js';

function pattern(text: string): TopicPattern {
  const parsed = parseTopicPattern(text);
  if (parsed.kind === 'invalid') throw new Error(parsed.reason);
  return parsed.pattern;
}

describe('parseTopicPattern', () => {
  it.each([
    ['veep/+/+/+/data', 'veep/+/+/+/data'],
    ['{tenant}/x/{device}/{site}', '+/x/+/+'],
    ['a/{tenant}/+/{site}/{device}', 'a/+/+/+/+'],
  ])('%s subscribes to %s', (text, filter) => expect(pattern(text).filter).toBe(filter));

  it.each([
    '',
    'veep/#',
    'veep/+/+/data',
    '+/+/+/+',
    '{tenant}/{tenant}/{site}/{device}',
    '{tenant}/{site}',
    '{Tenant}/{site}/{device}',
    'a+/+/+/+',
  ])('refuses %j', (text) => expect(parseTopicPattern(text).kind).toBe('invalid'));
});

describe('matchTopicPattern', () => {
  it('takes tenant, site and device exactly as written', () => {
    expect(matchTopicPattern(pattern('veep/+/+/+/data'), 'veep/ Fäctory/LINE 2/\u202edev/data')).toEqual({
      tenantId: ' Fäctory',
      siteId: 'LINE 2',
      deviceId: '\u202edev',
    });
    expect(matchTopicPattern(pattern('a/{device}/+/{site}/{tenant}'), 'a/d/x/s/t')).toEqual({ tenantId: 't', siteId: 's', deviceId: 'd' });
  });

  it.each(['veep/t/s/d', 'veep/t/s/d/data/x', 'veep//s/d/data', 'veep/t/s//data', 'Veep/t/s/d/data', '', '/'.repeat(200)])(
    'does not fit %j',
    (topic) => expect(matchTopicPattern(pattern('veep/+/+/+/data'), topic)).toBeUndefined(),
  );
});
