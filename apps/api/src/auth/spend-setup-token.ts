import { useSetupToken } from '@tallystick/access';
import type { Reader } from '../database/database.js';
import { unauthenticated } from './authenticator.js';

/** Uses a setup token up, in the transaction of what it is used for. Throws UNAUTHENTICATED when another request was first. */
export async function spendSetupToken(run: Reader, hash: Buffer): Promise<void> {
  if (!(await useSetupToken(run, hash))) throw unauthenticated('This setup token was used already, or is too old.');
}
