import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { issueSetupToken } from '@tallystick/access';
import pg from 'pg';

/**
 * As long as no key of the platform works: a setup token with which the first one can be made, also written to
 * `<dataDir>/setup-token` for this user alone. undefined when there is a key; then the file is gone.
 */
export async function writeSetupToken(ownerUrl: string, dataDir: string): Promise<string | undefined> {
  const client = new pg.Client({ connectionString: ownerUrl, application_name: 'tallystick-up' });
  await client.connect();
  let token: string | undefined;
  try {
    token = await issueSetupToken(async <Row>(text: string, values: readonly unknown[] = []) => {
      return (await client.query<Row & object>(text, [...values])).rows;
    });
  } finally {
    await client.end();
  }
  const file = join(dataDir, 'setup-token');
  rmSync(file, { force: true });
  if (token !== undefined) writeFileSync(file, `${token}\n`, { mode: 0o600, flag: 'wx' });
  return token;
}
