import { newSetupToken } from './api-key.js';
import { type Statements, WORKING_KEY } from './stored-keys.js';

const LIFETIME = '60 minutes';

/** A new setup token, when there is no platform key that works; earlier ones end. undefined when there is a key. */
export async function issueSetupToken(run: Statements): Promise<string | undefined> {
  const [{ hasKey }] = (await run<{ hasKey: boolean }>(
    `SELECT EXISTS (SELECT FROM api_keys WHERE kind = 'platform' AND ${WORKING_KEY}) AS "hasKey"`,
  )) as [{ hasKey: boolean }];
  if (hasKey) return undefined;
  const { text, hash } = newSetupToken();
  await run(`UPDATE setup_tokens SET used_at = now() WHERE used_at IS NULL`);
  await run(`INSERT INTO setup_tokens (token_hash, expires_at) VALUES ($1, now() + interval '${LIFETIME}')`, [hash]);
  return text;
}

/** Uses a token up. False when it is unknown, used or too old. Of two that use it at once one gets true. */
export async function useSetupToken(run: Statements, hash: Buffer): Promise<boolean> {
  const used = await run(
    `UPDATE setup_tokens SET used_at = now() WHERE token_hash = $1 AND used_at IS NULL AND expires_at > now() RETURNING used_at`,
    [hash],
  );
  return used.length === 1;
}
