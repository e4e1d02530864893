import { generateKeyPairSync } from 'node:crypto';
import { publicKeyFault } from './device-public-key.js';

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

function base58(bytes: Buffer): string {
  let text = '';
  for (let rest = BigInt(`0x${bytes.toString('hex')}`); rest > 0n; rest /= 58n) text = ALPHABET[Number(rest % 58n)]! + text;
  const zeros = bytes.findIndex((byte) => byte !== 0);
  return '1'.repeat(zeros < 0 ? bytes.length : zeros) + text;
}
const ofHex = (hex: string) => base58(Buffer.from(hex, 'hex'));

describe('the public key of a device', () => {
  it('may be any that Ed25519 makes', () => {
    for (let time = 0; time < 50; time++) {
      const { x } = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' });
      expect(publicKeyFault(base58(Buffer.from(x!, 'base64url')))).toBeUndefined();
    }
  });

  it('may be those of the worked example and of RFC 8032 section 7.1', () => {
    expect(publicKeyFault('2o5j4p53KtAJTRmvC7xDcMTtigqXhduibVDb92hWXsQv')).toBeUndefined();
    expect(publicKeyFault(ofHex('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'))).toBeUndefined();
    expect(publicKeyFault(ofHex('3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c'))).toBeUndefined();
  });

  it.each([
    ['no text', ''],
    ['a letter that base58 does not have', '0o5j4p53KtAJTRmvC7xDcMTtigqXhduibVDb92hWXsQv'],
    ['31 bytes', base58(Buffer.alloc(31, 7))],
    ['33 bytes', base58(Buffer.alloc(33, 7))],
    ['base64', '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo='],
    ['hex', 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'],
    ['a long text', '2'.repeat(10_000)],
  ])('is refused as %s', (_, text) => expect(publicKeyFault(text)).toBe('must be the base58 text of 32 bytes'));

  // The points of small order and their other encodings, as libsodium lists them (ge25519_has_small_order).
  it.each([
    ['0000000000000000000000000000000000000000000000000000000000000000', 'low order'],
    ['0000000000000000000000000000000000000000000000000000000000000080', 'low order'],
    ['0100000000000000000000000000000000000000000000000000000000000000', 'low order'],
    ['0100000000000000000000000000000000000000000000000000000000000080', 'low order'],
    ['26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05', 'low order'],
    ['26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85', 'low order'],
    ['c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a', 'low order'],
    ['c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa', 'low order'],
    ['ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f', 'low order'],
    ['edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f', 'too large'],
    ['eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f', 'too large'],
    ['ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', 'too large'],
    ['0200000000000000000000000000000000000000000000000000000000000000', 'no point'],
  ])('is refused as %s: %s', (hex, fault) => expect(publicKeyFault(ofHex(hex))).toContain(fault));
});
