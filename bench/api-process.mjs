// The built API in a process of its own, with the rights that it has in production, and with Node's options in its image.
import { readFileSync } from 'node:fs';
import { freePort } from '../dist/libs/embedded/src/index.js';
import { makeKey } from './api-rows.mjs';
import { ConsumerProcess } from './consumer-process.mjs';
import { untilReady } from './watcher-run.mjs';

const API = 'dist/apps/api/src/main.js';
/** Of the image's ENTRYPOINT, `["node", options…, API]`. */
const NODE_OPTIONS = JSON.parse(/^ENTRYPOINT (.*apps\/api\/.*)$/m.exec(readFileSync('docker/Dockerfile', 'utf8'))[1]).slice(1, -1);
const LOGIN = 'bench_api';
/** A benchmark is one client that asks for all. */
const RATE_LIMIT = '100000000';

/** Logins and keys that all API processes of this database use: `{ url, keys: { tenant, platform } }`. */
export async function makeAccess({ sql, url }, tenantId) {
  const password = 'bench';
  await sql.query(`DROP ROLE IF EXISTS ${LOGIN}`);
  await sql.query(`CREATE ROLE ${LOGIN} LOGIN PASSWORD '${password}' IN ROLE tallystick_api`);
  const login = Object.assign(new URL(url), { username: LOGIN, password });
  const keys = { tenant: await makeKey(sql, tenantId), platform: await makeKey(sql, null) };
  return { url: login.href, keys };
}

/** Starts an API and resolves when it is ready. `get` is an answer's JSON; it throws for anything but 2xx. */
export async function startApi({ url, keys }) {
  const port = String(await freePort());
  const env = {
    NODE_ENV: 'production',
    HOST: '127.0.0.1',
    PORT: port,
    LOG_LEVEL: 'warn',
    DATABASE_URL: url,
    RATE_LIMIT,
    NODE_OPTIONS: NODE_OPTIONS.join(' '),
  };
  const app = new ConsumerProcess(API, env);
  const origin = `http://127.0.0.1:${port}`;
  await untilReady(origin, app);
  const headers = (whose) => ({ authorization: `Bearer ${keys[whose]}` });
  const get = async (whose, path) => {
    const response = await fetch(`${origin}/api/v1/${path}`, { headers: headers(whose) });
    const text = await response.text();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text.slice(0, 300)}`);
    return JSON.parse(text);
  };
  return { app, origin, headers, get };
}
