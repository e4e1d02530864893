import fc from 'fast-check';
import { type Intake, type IntakeRules, takeMessage } from './take-message.js';
import { parseTopicPattern } from './topic-pattern.js';

const parsed = parseTopicPattern('veep/+/+/+/data');
const rules: IntakeRules = { patterns: parsed.kind === 'pattern' ? [parsed.pattern] : [], payloadFormat: 'json', maxPayloadBytes: 1000 };
const TOPIC = 'veep/factory1/line2/SENSOR_001/data';

const take = (payload: string | Buffer, topic = TOPIC, changed: Partial<IntakeRules> = {}): Intake =>
  takeMessage(topic, Buffer.from(payload as string), { ...rules, ...changed });

describe('takeMessage', () => {
  it('reads the sample of the data model', () => {
    expect(take('{"deviceId":"SENSOR_001","timestamp":1678886400,"kwh":15.7,"metadata":{"firmware_version":"2.1.0"}}')).toEqual({
      kind: 'accepted',
      content: {
        tenantId: 'factory1',
        siteId: 'line2',
        deviceId: 'SENSOR_001',
        rawData: '{"deviceId":"SENSOR_001","timestamp":1678886400,"kwh":15.7,"metadata":{"firmware_version":"2.1.0"}}',
        rawDataError: null,
        deviceTimestampMs: 1678886400000,
        firmwareVersion: '2.1.0',
      },
    });
  });

  it.each([
    '23.5',
    '"text"',
    'null',
    'true',
    '[]',
    '{"data":1,"id":2,"pattern":3}',
    '{"a":1,"a":2}',
    ' {"a" : 1e400}\n',
    '{"deviceId":null,"timestamp":null}',
  ])('accepts %s and keeps its text', (payload) =>
    expect(take(payload)).toMatchObject({ kind: 'accepted', content: { rawData: payload, rawDataError: null } }),
  );

  it('accepts what jsonb cannot hold, and says why it is not searchable', () => {
    expect(take('{"a":"\\u0000"}')).toMatchObject({
      kind: 'accepted',
      content: { rawData: null, rawDataError: expect.stringContaining('u0000') },
    });
  });

  it.each<[string, string | Buffer, string, Partial<IntakeRules>?]>([
    ['not_json', '', TOPIC],
    ['not_json', '{nope', TOPIC],
    ['not_json', 'NaN', TOPIC],
    ['not_json', '[1,]', TOPIC],
    ['not_json', '\ufeff{}', TOPIC],
    ['not_json', Buffer.from('{}', 'utf16le'), TOPIC],
    ['not_json', Buffer.from([0x22, 0xff, 0x22]), TOPIC],
    ['not_json', Buffer.from([0, 1, 2]), TOPIC],
    ['too_deep', '['.repeat(65) + ']'.repeat(65), TOPIC],
    ['payload_too_large', 'x'.repeat(1001), TOPIC],
    ['not_object', '[]', TOPIC, { payloadFormat: 'object' }],
    ['device_mismatch', '{"deviceId":"OTHER"}', TOPIC],
    ['device_mismatch', '{"deviceId":{"a":1}}', TOPIC],
    ['tenant_mismatch', '{"tenantId":"factory2"}', TOPIC],
    ['bad_timestamp', '{"timestamp":"yesterday"}', TOPIC],
    ['bad_timestamp', '{"timestamp":1e400}', TOPIC],
    ['topic_mismatch', '{}', 'veep/factory1/line2/data'],
    ['topic_mismatch', '{}', 'veep//line2/d/data'],
    ['identifier_too_long', '{}', `veep/t/s/${'d'.repeat(101)}/data`],
    ['topic_too_long', '{}', `veep/${'t'.repeat(100)}/${'s'.repeat(100)}/${'d'.repeat(100)}/data`],
  ])('quarantines as %s (%#)', (reason, payload, topic, changed = {}) => {
    expect(take(payload, topic, changed)).toMatchObject({ kind: 'rejected', reason, detail: expect.any(String) });
  });

  it('counts characters as PostgreSQL does: 100 emoji are a device id', () => {
    expect(take('{}', `veep/t/s/${'😀'.repeat(100)}/data`)).toMatchObject({ kind: 'accepted' });
    expect(take('{}', `veep/t/s/${'😀'.repeat(101)}/data`)).toMatchObject({ kind: 'rejected', reason: 'identifier_too_long' });
  });

  it('takes a device id written as a number, a firmware version of 50 characters, binary when any format is allowed', () => {
    expect(take('{"deviceId":42}', 'veep/t/s/42/data').kind).toBe('accepted');
    expect(take(`{"firmwareVersion":"${'v'.repeat(60)}"}`)).toMatchObject({ content: { firmwareVersion: 'v'.repeat(50) } });
    expect(take(Buffer.from([0, 255]), TOPIC, { payloadFormat: 'any' })).toMatchObject({ kind: 'accepted', content: { rawData: null } });
  });

  it('decides about every topic and payload without throwing', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }),
          fc.json().map((json) => Buffer.from(json)),
        ),
        (topic, payload) => {
          for (const format of ['json', 'object', 'any'] as const) {
            for (const candidate of [topic, TOPIC])
              expect(['accepted', 'rejected']).toContain(take(Buffer.from(payload), candidate, { payloadFormat: format }).kind);
          }
        },
      ),
    );
  });
});
