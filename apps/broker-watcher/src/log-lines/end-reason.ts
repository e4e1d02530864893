import type { EndedBy, EndReason } from '@tallystick/persistence';

/** Who closed the connection. */
export function endedBy(reason: EndReason): EndedBy {
  if (reason === 'clean_disconnect') return 'client';
  if (reason === 'network' || reason === 'unknown') return reason;
  return 'broker';
}

/** The reasons that 2.1 prints after `disconnected: ` (lib/strings_mosq.c and src/context.c of v2.1.2), without their full stop. */
const REASONS_2_1: Readonly<Record<string, EndReason>> = {
  'malformed packet': 'malformed',
  'protocol error': 'protocol_error',
  'connection closed by client': 'network',
  'not authorised': 'not_authorised',
  'exceeded timeout': 'keepalive_timeout',
  'oversize packet': 'oversize',
  'oversize payload': 'oversize',
  'out of memory': 'unknown',
  'administrative action': 'administrative',
  'receive maximum exceeded': 'protocol_error',
  'implementation specific error': 'unknown',
  'client identifier not valid': 'not_authorised',
  'bad username or password': 'not_authorised',
  'server unavailable': 'unknown',
  'server busy': 'unknown',
  'client banned': 'not_authorised',
  'bad authentication method': 'not_authorised',
  'quota exceeded': 'administrative',
  'connection rate exceeded': 'administrative',
  'session taken over': 'taken_over',
  'topic alias invalid': 'protocol_error',
  'non-matching http origin': 'not_authorised',
};

/** Of a reason in 2.1's words. What is not in its list is what the operating system said of the connection. */
export function endReasonOf(words: string): EndReason {
  if (Object.hasOwn(REASONS_2_1, words)) return REASONS_2_1[words]!;
  if (words.startsWith('used disallowed feature')) return 'protocol_error';
  if (words.startsWith('bad socket read/write')) return 'network';
  return words === 'Protocol error' ? 'protocol_error' : 'network';
}
