import type { Dialect } from './dialect.js';

/** From 2.0 on a line has at most 999 bytes, its time included (src/logging.c). */
const LONGEST_BYTES = 999;
/** 1.6 cuts the text, without its time, 499 bytes beyond the length of its printf format (src/logging.c of v1.6.15). */
const BEYOND_FORMAT_BYTES = 499;

/** 1.6's formats that hold what a client chose, by the topic's leaf. */
const FORMATS_1_6: Readonly<Record<string, readonly string[]>> = {
  'M/subscribe': ['%s %d %s'],
  'M/unsubscribe': ['%s %s'],
  E: ['Client %s already connected, closing old connection.'],
  N: [
    'New client connected from %s as %s (p%d, c%d, k%d).',
    "New client connected from %s as %s (p%d, c%d, k%d, u'%s').",
    'New bridge connected from %s as %s (p%d, c%d, k%d).',
    "New bridge connected from %s as %s (p%d, c%d, k%d, u'%s').",
    'Client %s disconnected.',
    'Socket error on client %s, disconnecting.',
    'Client %s disconnected, no longer authorised.',
    'Client %s disconnected due to protocol error.',
    'Client %s has exceeded timeout, disconnecting.',
    'Expiring client %s due to timeout.',
    'Outgoing messages are being dropped for client %s.',
    'Bad client %s sending multiple CONNECT messages.',
    'ACL denying access to client with dangerous client id \\"%s\\"',
  ],
  I: [
    'Client %s sent too large packet %d, disconnecting.',
    'Empty unsubscription string from %s, disconnecting.',
    'Invalid unsubscription string from %s, disconnecting.',
    'Invalid QoS in PUBLISH from %s, disconnecting.',
    'Invalid protocol \\"%s\\" in CONNECT from %s.',
  ],
};

const CUTS_1_6 = Object.entries(FORMATS_1_6).flatMap(([leaf, formats]) =>
  formats.map((format) => ({
    leaf,
    begin: format.slice(0, format.indexOf('%s')),
    bytes: format.replaceAll('\\"', '"').length + BEYOND_FORMAT_BYTES,
  })),
);

/**
 * Whether the line is as long as the broker makes it, so that its end may be missing. Such a line is not read further: what
 * stands at its end may be the middle of an id that was made to look like an end.
 */
export function isCut(leaf: string, text: string, sizeBytes: number, prefixBytes: number, dialect: Dialect): boolean {
  if (dialect !== '1.6') return sizeBytes === LONGEST_BYTES;
  const textBytes = sizeBytes - prefixBytes;
  return (
    textBytes > BEYOND_FORMAT_BYTES && CUTS_1_6.some((cut) => cut.leaf === leaf && cut.bytes === textBytes && text.startsWith(cut.begin))
  );
}
