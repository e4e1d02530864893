import { isIP } from 'node:net';

/** Names that Express knows for 127.0.0.0/8 and ::1, for link-local, and for private addresses. */
const NAMED = ['loopback', 'linklocal', 'uniquelocal'];
const ADDRESS_BITS: Record<number, number> = { 4: 32, 6: 128 };

/** Whether Express takes a text for the proxies it names: an address, a network such as `10.0.0.0/8`, or one of its names. */
export function isProxyNetwork(text: unknown): boolean {
  if (typeof text !== 'string') return false;
  if (NAMED.includes(text)) return true;
  const [address = '', bits, ...rest] = text.split('/');
  const most = ADDRESS_BITS[isIP(address)];
  if (most === undefined || rest.length > 0) return false;
  return bits === undefined || (/^[1-9]\d{0,2}$/.test(bits) && Number(bits) <= most);
}
