import { message, packet } from '../../test/messages.js';
import { keyHashOf, rejection } from './telemetry-message.js';

describe('keyHash', () => {
  it('is the same for the same topic and key, whatever the payload and whether it is accepted', () => {
    const named = { deduplicationKey: 'k' };
    const refused = rejection(packet('t', 'nope', named), { reason: 'not_json', detail: 'x', tenantId: 't' });
    expect(new Set([message('t', '1', named).keyHash, message('t', '2', named).keyHash, refused.keyHash]).size).toBe(1);
    expect(message('t', '1').keyHash).toBeUndefined();
  });

  it('differs where topic or key do, also where the two together read the same', () => {
    const pairs = [['t/a', 'b'], ['t/', 'ab'], ['t/a', 'B'], ['t/a\0', 'b'], ['t/a', '\0b'], ['3:t/', 'ab'], ['ü', 'b'], ['u\u0308', 'b']]; // prettier-ignore
    expect(new Set(pairs.map(([topic, key]) => keyHashOf(topic!, key!))).size).toBe(pairs.length);
  });
});
