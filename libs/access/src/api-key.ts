import { hashOfSecret, newSecret, randomName, SECRET_LENGTH, withCheck, withoutCheck } from './secret-text.js';

const ID_LENGTH = 12;
const API_KEY = new RegExp(`^tly_([0-9A-Za-z]{${ID_LENGTH}})_([0-9A-Za-z_-]{${SECRET_LENGTH}})$`);
const SETUP_TOKEN = new RegExp(`^tly_setup_([0-9A-Za-z_-]{${SECRET_LENGTH}})$`);

/** What a presented key says: whose it claims to be, and the hash that the stored one must equal. */
export interface PresentedKey {
  keyId: string;
  secretHash: Buffer;
}

/** A new key: `text`, shown once, and what is stored. `tly_<12 id>_<43 secret><6 check>`. */
export function newApiKey(): PresentedKey & { text: string } {
  const keyId = randomName(ID_LENGTH);
  const secret = newSecret();
  return { text: withCheck(`tly_${keyId}_${secret}`), keyId, secretHash: hashOfSecret(secret) };
}

/** Reads a key without asking the database; undefined for anything that cannot be one. Never throws. */
export function parseApiKey(text: string): PresentedKey | undefined {
  const match = API_KEY.exec(withoutCheck(text) ?? '');
  return match ? { keyId: match[1]!, secretHash: hashOfSecret(match[2]!) } : undefined;
}

/** A token with which the first key is made: `tly_setup_<43 secret><6 check>`. */
export function newSetupToken(): { text: string; hash: Buffer } {
  const secret = newSecret();
  return { text: withCheck(`tly_setup_${secret}`), hash: hashOfSecret(secret) };
}

/** The hash of a setup token; undefined for anything that cannot be one. */
export function parseSetupToken(text: string): Buffer | undefined {
  const match = SETUP_TOKEN.exec(withoutCheck(text) ?? '');
  return match ? hashOfSecret(match[1]!) : undefined;
}
