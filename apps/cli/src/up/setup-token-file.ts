import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { issueSetupToken } from '@tallystick/access';
import { inOwnerTransaction } from '../owner-transaction.js';

/**
 * As long as no key of the platform works: a setup token with which the first one can be made, also written to
 * `<dataDir>/setup-token` for this user alone. undefined when there is a key; then the file is gone.
 */
export async function writeSetupToken(ownerUrl: string, dataDir: string): Promise<string | undefined> {
  const token = await inOwnerTransaction(ownerUrl, 'tallystick-up', issueSetupToken);
  const file = join(dataDir, 'setup-token');
  rmSync(file, { force: true });
  if (token !== undefined) writeFileSync(file, `${token}\n`, { mode: 0o600, flag: 'wx' });
  return token;
}
