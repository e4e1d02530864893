import { readFileSync } from 'node:fs';

/** The version of package.json, five levels above this file in dist/. */
export const VERSION = (JSON.parse(readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8')) as { version: string })
  .version;
