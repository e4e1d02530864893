import { containedJsonFault } from './contained-json.js';

describe('the JSON that messages are to contain', () => {
  it.each(['{"a":1}', '{"a":null}', '[0]', '[[["x"]]]', '{"a":{"b":[{},{"c":false}]}}', ' {"a" : 1e400} '])('may be %s', (text) =>
    expect(containedJsonFault(text)).toBeUndefined(),
  );

  it.each([
    ['', 'must be JSON'],
    ['{', 'must be JSON'],
    ["{'a':1}", 'must be JSON'],
    ['a=1', 'must be JSON'],
    ['1', 'object or array'],
    ['null', 'object or array'],
    ['"text"', 'object or array'],
    ['{}', 'a value'],
    ['[[],{"a":{}}]', 'a value'],
    [`{"a":"${'x'.repeat(2_041)}"}`, 'at most 2048 bytes'],
    [`{"a":"${'ä'.repeat(1_021)}"}`, 'at most 2048 bytes'],
    ['['.repeat(100_000), 'at most 2048 bytes'],
  ])('is refused as %.20s', (text, fault) => expect(containedJsonFault(text)).toContain(fault));

  it('may be as deep as its length allows', () => expect(containedJsonFault(`${'['.repeat(1_023)}1${']'.repeat(1_023)}`)).toBeUndefined());
});
