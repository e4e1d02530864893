const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const KEY_BYTES = 32;

// Edwards25519 (RFC 8032 section 5.1): -x^2 + y^2 = 1 + d x^2 y^2 over the integers modulo P.
const P = 2n ** 255n - 19n;
const D = modulo(-121665n * power(121666n, P - 2n));

/**
 * What is wrong with a device's public key: base58 of the 32 bytes of an Ed25519 key; undefined when nothing is. Refused are also
 * bytes that are no point of the curve or not its one encoding, and points of low order, under which one signature fits any message.
 */
export function publicKeyFault(text: string): string | undefined {
  const bytes = fromBase58(text);
  if (bytes?.length !== KEY_BYTES) return 'must be the base58 text of 32 bytes';
  // RFC 8032 section 5.1.3: y in little endian, and the sign of x in the last bit.
  const y = BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`) & (2n ** 255n - 1n);
  if (y >= P) return 'is not an Ed25519 key: its number is too large';
  // x^2 is u / v; it has a root when u * v has one (Euler's criterion).
  const u = y * y - 1n;
  const v = D * y * y + 1n;
  if (power(u * v, (P - 1n) / 2n) === P - 1n) return 'is not an Ed25519 key: no point of the curve';
  // The factors are zero for the points of order 4, of order 1 and 2, and of order 8, which when doubled have y = 0.
  if (modulo(y * u * (D * y ** 4n + 2n * y * y - 1n)) === 0n) return 'is not an Ed25519 key: a point of low order';
  return undefined;
}

/** At most 44 characters make 32 bytes; each leading 1 is a zero byte. undefined for other texts. */
function fromBase58(text: string): Uint8Array | undefined {
  if (text.length === 0 || text.length > 44) return undefined;
  let value = 0n;
  for (const character of text) {
    const digit = ALPHABET.indexOf(character);
    if (digit < 0) return undefined;
    value = value * 58n + BigInt(digit);
  }
  const zeros = /^1*/.exec(text)![0].length;
  const hex = value === 0n ? '' : value.toString(16);
  return Buffer.from('00'.repeat(zeros) + hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
}

function modulo(value: bigint): bigint {
  return ((value % P) + P) % P;
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (let square = modulo(base), rest = exponent; rest > 0n; rest >>= 1n, square = (square * square) % P) {
    if (rest & 1n) result = (result * square) % P;
  }
  return result;
}
