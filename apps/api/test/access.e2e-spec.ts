import { issueSetupToken, type Scope, SCOPES } from '@tallystick/access';
import { addressForApp, createTestDatabase, startApp, until } from '@tallystick/testing';
import pg from 'pg';
import { Api, makeKey, statementsOf } from './api.js';
import { type BatchRow, insertBatch } from './rows.js';

interface Operation {
  method: string;
  path: string;
  security: unknown;
}

/** Who may do what. A route that is not here fails the spec: nothing is served by accident. */
const POLICIES: Record<string, 'public' | { scope: Scope; platformOnly?: true }> = {
  'POST /api/v1/session': 'public',
  'DELETE /api/v1/session': 'public',
  'POST /api/v1/keys': { scope: 'keys:admin', platformOnly: true },
  'GET /api/v1/keys': { scope: 'keys:admin', platformOnly: true },
  'DELETE /api/v1/keys/{keyId}': { scope: 'keys:admin', platformOnly: true },
  'PATCH /api/v1/devices/{deviceId}': { scope: 'devices:write' },
  'POST /api/v1/rejections/{rejectionId}/discard': { scope: 'rejections:write' },
  'POST /api/v1/rejections/{rejectionId}/replay': { scope: 'rejections:write' },
  'GET /api/v1/export/messages': { scope: 'export' },
  'GET /api/v1/export/events': { scope: 'export', platformOnly: true },
  'GET /api/v1/export/metrics': { scope: 'export', platformOnly: true },
  'GET /api/v1/stream': { scope: 'telemetry:read' },
};
const POLICIES_BY_PREFIX: [string, { scope: Scope; platformOnly?: true }][] = [
  ['/api/v1/batches', { scope: 'telemetry:read' }],
  ['/api/v1/messages', { scope: 'telemetry:read' }],
  ['/api/v1/devices', { scope: 'telemetry:read' }],
  ['/api/v1/rejections', { scope: 'telemetry:read' }],
  ['/api/v1/alerts', { scope: 'broker:read', platformOnly: true }],
  ['/api/v1/brokers', { scope: 'broker:read', platformOnly: true }],
];

function policyOf({ method, path }: Operation): 'public' | { scope: Scope; platformOnly?: true } | undefined {
  return POLICIES[`${method} ${path}`] ?? POLICIES_BY_PREFIX.find(([prefix]) => path.startsWith(prefix))?.[1];
}

let addresses = 0;
/** Headers of a request that a proxy sends on for somebody who has tried nothing yet: wrong keys are counted by address. */
const fromElsewhere = () => ({ 'X-Forwarded-For': `10.0.${addresses >> 8}.${addresses++ & 255}` });

const UNKNOWN_ID = '019ab5e8-2c00-7000-8000-00000000dead';

describe('access', () => {
  let api: Api;
  let operations: Operation[];
  beforeAll(async () => {
    api = await Api.start({ RATE_LIMIT: '100000', TRUSTED_PROXIES: '127.0.0.1' });
    const document = (await (await fetch(`${api.app.url}/api/openapi.json`)).json()) as {
      paths: Record<string, Record<string, { security?: unknown }>>;
    };
    operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { security }]) => ({ method: method.toUpperCase(), path, security })),
    );
  });
  afterAll(() => api.stop());

  const statusWith = async ({ method, path }: Operation, authorization: string | undefined) => {
    const filled = path.replace(/\{\w+\}/g, UNKNOWN_ID);
    const headers = { ...fromElsewhere(), ...(authorization !== undefined && { Authorization: authorization }) };
    return (await fetch(api.app.url + filled, { method, headers })).status;
  };

  it('has a policy for every route, and the document says which routes need a key', () => {
    for (const operation of operations) {
      const policy = policyOf(operation);
      expect([operation.method, operation.path, policy]).toEqual([operation.method, operation.path, expect.anything()]);
      expect([operation.path, JSON.stringify(operation.security) === '[]']).toEqual([operation.path, policy === 'public']);
    }
  });

  it('refuses every guarded route without a key, with a wrong one, without the scope, and to a tenant where it is not theirs', async () => {
    const refusals: unknown[] = [];
    for (const operation of operations) {
      const policy = policyOf(operation);
      if (policy === undefined || policy === 'public') continue;
      const others = SCOPES.filter((scope) => scope !== policy.scope);
      const withoutScope = await makeKey(api.sql, { scopes: others });
      const ofTenant = await makeKey(api.sql, { scopes: [policy.scope], tenantId: 'factory1' });
      const ofPlatform = await makeKey(api.sql, { scopes: [policy.scope] });
      const seen = [
        await statusWith(operation, undefined),
        await statusWith(operation, `Bearer ${withoutScope}`),
        (await statusWith(operation, `Bearer ${ofTenant}`)) === 403,
        [401, 403].includes(await statusWith(operation, `Bearer ${ofPlatform}`)),
      ];
      const expected = [401, 403, policy.platformOnly === true, false];
      if (JSON.stringify(seen) !== JSON.stringify(expected)) refusals.push([operation.method, operation.path, seen, expected]);
    }
    expect(refusals).toEqual([]);
  }, 60_000);

  it('does not say what there is to somebody without a key', async () => {
    const answer = await fetch(`${api.app.url}/api/v1/batches/not-a-uuid?nonsense=1`);
    expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([401, 'Bearer realm="tallystick"']);
    expect(await answer.json()).toMatchObject({ code: 'UNAUTHENTICATED' });
  });

  describe('of tenants', () => {
    let keyOfA: string;
    let ofB: BatchRow;
    beforeAll(async () => {
      await insertBatch(api.sql, { tenantId: 'tenant-a' });
      ofB = await insertBatch(api.sql, { tenantId: 'tenant-b', deviceIds: ['METER_B'] });
      await api.sql.query(
        `INSERT INTO rejected_messages (rejection_id, received_at, tenant_id, topic, payload, payload_size, payload_hash, reason, receiver, qos)
         VALUES (gen_random_uuid(), now(), 'tenant-b', 'veep/tenant-b/x', '', 0, repeat('0', 64), 'not_json', 'bridge-1', 1)`,
      );
      keyOfA = await makeKey(api.sql, { tenantId: 'tenant-a', scopes: ['telemetry:read', 'rejections:write', 'export'] });
    });

    it('answers for an object of another tenant exactly as for one that does not exist', async () => {
      const bodyOf = async (path: string, method: string) => {
        const answer = await api.ask(path, { method, headers: { Authorization: `Bearer ${keyOfA}` } });
        return { status: answer.status, ...answer.body, instance: '', requestId: '' };
      };
      for (const [method, path] of [
        ['GET', '/api/v1/batches/ID'],
        ['GET', '/api/v1/batches/ID/messages'],
        ['POST', '/api/v1/batches/ID/verify'],
        ['GET', '/api/v1/messages/ID'],
        ['GET', '/api/v1/messages/ID/payload'],
        ['POST', '/api/v1/messages/ID/verify'],
      ] as const) {
        const theirs = path.includes('batches') ? ofB.batchId : ofB.messages[0]!.messageId;
        expect((await api.ask(path.replace('ID', theirs), { method })).status).toBe(200);
        const answer = await bodyOf(path.replace('ID', theirs), method);
        expect(answer).toEqual(await bodyOf(path.replace('ID', UNKNOWN_ID), method));
        expect(answer.status).toBe(404);
      }
    });

    it('lists only what is theirs, whatever filter is given', async () => {
      for (const path of [
        '/api/v1/batches?limit=500',
        '/api/v1/batches?tenantId=tenant-b',
        '/api/v1/messages?limit=500',
        '/api/v1/messages?tenantId=tenant-b',
        `/api/v1/messages?batchId=${ofB.batchId}`,
        '/api/v1/messages?deviceId=METER_B',
        '/api/v1/devices?limit=500',
        '/api/v1/devices?tenantId=tenant-b',
        '/api/v1/rejections?tenantId=tenant-b',
      ]) {
        const { status, body } = await api.ask<{ items: { tenantId: string }[] }>(path, { headers: { Authorization: `Bearer ${keyOfA}` } });
        const tenants = new Set(body.items.map(({ tenantId }) => tenantId));
        const isWide = path.endsWith('limit=500');
        expect([path, status, [...tenants]]).toEqual([path, 200, isWide ? ['tenant-a'] : []]);
      }
    });

    it('is kept by row-level security alone: as the role of the API, without any filter', async () => {
      const asApi = new pg.Client({ connectionString: addressForApp(api.databaseUrl, 'api') });
      await asApi.connect();
      const tenantsSeen = async (tenant: string | undefined, platform?: string) => {
        await asApi.query('BEGIN');
        if (tenant !== undefined) await asApi.query(`SELECT set_config('app.tenant', $1, true)`, [tenant]);
        if (platform !== undefined) await asApi.query(`SELECT set_config('app.platform', $1, true)`, [platform]);
        const seen: Record<string, unknown> = {};
        for (const table of ['devices', 'batches', 'messages', 'rejected_messages']) {
          const { rows } = await asApi.query<{ tenants: string[] | null }>(`SELECT array_agg(DISTINCT tenant_id) AS tenants FROM ${table}`);
          seen[table] = rows[0]!.tenants;
        }
        await asApi.query('ROLLBACK');
        return seen;
      };
      const of = (tenants: string[] | null, rejected: string[] | null) => ({
        ...{ devices: tenants, batches: tenants, messages: tenants },
        rejected_messages: rejected,
      });
      expect(await tenantsSeen('tenant-a')).toEqual(of(['tenant-a'], null));
      expect(await tenantsSeen('tenant-b')).toEqual(of(['tenant-b'], ['tenant-b']));
      expect(await tenantsSeen(undefined)).toEqual(of(null, null));
      expect(await tenantsSeen('')).toEqual(of(null, null));
      expect(await tenantsSeen('', 'off')).toEqual(of(null, null));
      expect(await tenantsSeen(undefined, 'on')).toEqual(of(['tenant-a', 'tenant-b'], ['tenant-b']));
      await asApi.end();
    });
  });

  describe('of keys', () => {
    const admin = (path: string, init: RequestInit & { json?: unknown } = {}) =>
      api.ask<{
        key: string;
        keyId: string;
        items: { keyId: string; lastUsedAt: string | null; revokedAt: string | null }[];
        code: string;
      }>(path, {
        ...init,
        ...(init.json !== undefined && { body: JSON.stringify(init.json), headers: { 'Content-Type': 'application/json' } }),
      });
    const statusOf = async (key: string) =>
      (await fetch(`${api.app.url}/api/v1/batches`, { headers: { Authorization: `Bearer ${key}` } })).status;

    it('are made, listed, used and revoked; a revoked one stops within 5 s; each act is in the audit log', async () => {
      const made = await admin('/api/v1/keys', {
        method: 'POST',
        json: { label: 'one', tenantId: 'tenant-a', scopes: ['telemetry:read'] },
      });
      expect(made.status).toBe(201);
      const { key, keyId } = made.body;
      expect(await statusOf(key)).toBe(200);
      await until(async () => (await admin('/api/v1/keys')).body.items.find((item) => item.keyId === keyId)?.lastUsedAt != null);
      expect((await admin(`/api/v1/keys/${keyId}`, { method: 'DELETE' })).status).toBe(204);
      await until(async () => (await statusOf(key)) === 401, { timeoutMs: 5_000 });
      expect((await admin(`/api/v1/keys/${keyId}`, { method: 'DELETE' })).status).toBe(204);
      expect((await admin('/api/v1/keys/000000000000', { method: 'DELETE' })).body.code).toBe('KEY_NOT_FOUND');
      expect(JSON.stringify((await admin('/api/v1/keys')).body)).not.toContain(key.slice(17));
      const { rows } = await api.sql.query(`SELECT actor, action, object FROM audit_log WHERE object = $1 ORDER BY entry_id`, [keyId]);
      const actor = expect.stringMatching(/^key:[0-9A-Za-z]{12}$/) as string;
      expect(rows).toEqual(['key.create', 'key.revoke'].map((action) => ({ actor, action, object: keyId })));
    });

    it.each([
      [{ label: 'x', scopes: [] }],
      [{ label: 'x', scopes: ['everything'] }],
      [{ label: 'x', scopes: 'telemetry:read' }],
      [{ label: 'x', scopes: ['export', 'export'] }],
      [{ label: '', scopes: ['export'] }],
      [{ label: 'half a pair \ud800', scopes: ['export'] }],
      [{ scopes: ['export'] }],
      [{ label: 'x', tenantId: 'tenant-a', scopes: ['broker:read'] }],
      [{ label: 'x', tenantId: 'tenant-a', scopes: ['keys:admin'] }],
      [{ label: 'x', scopes: ['export'], expiresAt: '2020-01-01T00:00:00Z' }],
      [{ label: 'x', scopes: ['export'], keyId: 'mine' }],
      [{ label: 'x', scopes: ['export'], kind: 'platform' }],
      [{ label: 'x', scopes: ['export'], createdAt: '2020-01-01T00:00:00Z' }],
    ])('are not made from %j', async (json) => {
      expect((await admin('/api/v1/keys', { method: 'POST', json })).body.code).toBe('INVALID_PARAMETER');
    });

    it('stop when they expire', async () => {
      const key = await makeKey(api.sql, { expiresAt: new Date(Date.now() + 1_000) });
      expect(await statusOf(key)).toBe(200);
      await until(async () => (await statusOf(key)) === 401, { timeoutMs: 6_000 });
    });

    it('are refused with anything changed, and in any other place than the header', async () => {
      const key = await makeKey(api.sql);
      for (const wrong of [key.slice(0, -1), `${key}x`, key.replace('tly_', 'TLY_'), key.split('_')[1]!, ''])
        expect(await statusOf(wrong)).toBe(401);
      expect((await fetch(`${api.app.url}/api/v1/batches?key=${key}`)).status).toBe(401);
      expect(
        (await fetch(`${api.app.url}/api/v1/batches`, { headers: { ...fromElsewhere(), Cookie: `tallystick_session=${key}` } })).status,
      ).toBe(401);
      expect(
        (await fetch(`${api.app.url}/api/v1/batches`, { headers: { ...fromElsewhere(), Authorization: `Basic ${btoa(`x:${key}`)}` } }))
          .status,
      ).toBe(401);
    });

    it('are made by a setup token once, and by none that is too old', async () => {
      const asSetup = (token: string) =>
        fetch(`${api.app.url}/api/v1/keys`, {
          method: 'POST',
          headers: { ...fromElsewhere(), Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
          body: JSON.stringify({ label: 'first', scopes: ['keys:admin'] }),
        });
      // While a key of the platform works there is no token to be had.
      await api.sql.query('BEGIN');
      await api.sql.query(`UPDATE api_keys SET expires_at = now() - interval '1 second'`);
      const token = (await issueSetupToken(statementsOf(api.sql)))!;
      await api.sql.query(`UPDATE api_keys SET expires_at = NULL`);
      await api.sql.query('COMMIT');
      expect(await issueSetupToken(statementsOf(api.sql))).toBeUndefined();
      expect(
        (await fetch(`${api.app.url}/api/v1/batches`, { headers: { ...fromElsewhere(), Authorization: `Bearer ${token}` } })).status,
      ).toBe(401);
      const answers = await Promise.all([asSetup(token), asSetup(token), asSetup(token)]);
      expect(answers.map(({ status }) => status).sort()).toEqual([201, 401, 401]);
      await api.sql.query(`UPDATE setup_tokens SET used_at = NULL, expires_at = now()`);
      expect((await asSetup(token)).status).toBe(401);
      // A key made in another way ends the token too: it would give every right to whoever reads it in a terminal.
      await api.sql.query(`UPDATE setup_tokens SET expires_at = now() + interval '1 hour'`);
      await makeKey(api.sql);
      expect((await asSetup(token)).status).toBe(401);
    });
  });

  describe('of sessions', () => {
    const signIn = (key: string, headers: Record<string, string> = {}) =>
      fetch(`${api.app.url}/api/v1/session`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', ...fromElsewhere(), ...headers },
        body: JSON.stringify({ key }),
      });
    const cookieOf = (answer: Response) => answer.headers.get('set-cookie')!.split(';')[0]!;
    const statusOf = async (cookie: string) =>
      (await fetch(`${api.app.url}/api/v1/batches`, { headers: { ...fromElsewhere(), Cookie: cookie } })).status;

    it('last until signed out, idle or 12 hours old, and never longer than their key', async () => {
      const key = await makeKey(api.sql);
      const answer = await signIn(key);
      expect(answer.headers.get('set-cookie')).toMatch(/^tallystick_session=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/);
      const open = async () => cookieOf(await signIn(key));
      const signedOut = cookieOf(answer);
      expect(await statusOf(signedOut)).toBe(200);
      const origin = api.app.url;
      await fetch(`${api.app.url}/api/v1/session`, { method: 'DELETE', headers: { Cookie: signedOut, Origin: origin } });
      expect(await statusOf(signedOut)).toBe(401);
      for (const change of [`last_seen_at = now() - interval '31 minutes'`, `created_at = now() - interval '13 hours'`]) {
        const cookie = await open();
        expect(await statusOf(cookie)).toBe(200);
        await api.sql.query(`UPDATE web_sessions SET ${change}`);
        expect(await statusOf(cookie)).toBe(401);
      }
      const cookie = await open();
      await api.sql.query(`UPDATE api_keys SET revoked_at = now() WHERE key_id = $1`, [key.slice(4, 16)]);
      expect(await statusOf(cookie)).toBe(401);
    });

    it('stay open while they are used, also when programs use the same key all the time', async () => {
      const key = await makeKey(api.sql);
      const cookie = cookieOf(await signIn(key));
      const keyId = key.slice(4, 16);
      await api.sql.query(`UPDATE web_sessions SET last_seen_at = now() - interval '20 minutes' WHERE key_id = $1`, [keyId]);
      await api.sql.query(`UPDATE api_keys SET last_used_at = now() WHERE key_id = $1`, [keyId]);
      expect(await statusOf(cookie)).toBe(200);
      await until(async () => {
        const { rowCount } = await api.sql.query(
          `SELECT FROM web_sessions WHERE key_id = $1 AND last_seen_at > now() - interval '1 minute'`,
          [keyId],
        );
        return rowCount === 1;
      });
    });

    it('cannot be used, nor made, by a page of another site', async () => {
      const cookie = cookieOf(await signIn(await makeKey(api.sql)));
      const post = async (headers: Record<string, string>) =>
        (
          await fetch(`${api.app.url}/api/v1/keys`, {
            method: 'POST',
            headers: { Cookie: cookie, 'Content-Type': 'application/json', ...headers },
            body: JSON.stringify({ label: 'x', scopes: ['export'] }),
          })
        ).status;
      expect(await post({})).toBe(403);
      expect(await post({ Origin: 'https://evil.example' })).toBe(403);
      expect(await post({ Origin: 'null' })).toBe(403);
      expect(await post({ Origin: api.app.url })).toBe(201);
      expect((await signIn(await makeKey(api.sql), { Origin: 'https://evil.example' })).status).toBe(403);
    });

    it('are bound to TLS and this host when a trusted proxy ends TLS', async () => {
      const proxied = await startApp('api', { DATABASE_URL: api.databaseUrl, TRUSTED_PROXIES: '127.0.0.1' });
      await proxied.waitForReady();
      const headers = { 'Content-Type': 'application/json', 'X-Forwarded-Proto': 'https' };
      const body = JSON.stringify({ key: await makeKey(api.sql) });
      const answer = await fetch(`${proxied.url}/api/v1/session`, { method: 'POST', headers, body });
      expect(answer.headers.get('set-cookie')).toMatch(/^__Host-tallystick_session=[\w-]{43}; Path=\/; HttpOnly; Secure; SameSite=Strict$/);
      expect(await proxied.stop()).toBe(0);
    });
  });

  it('keeps the audit log from everybody, also from its owner', async () => {
    const asApi = new pg.Client({ connectionString: addressForApp(api.databaseUrl, 'api') });
    await asApi.connect();
    for (const statement of [`UPDATE audit_log SET actor = 'x'`, 'DELETE FROM audit_log', 'TRUNCATE audit_log']) {
      await expect(asApi.query(statement)).rejects.toThrow('permission denied');
      await expect(api.sql.query(statement)).rejects.toThrow('only ever added to');
    }
    await asApi.end();
  });

  it('never logs a key, a session or a token', () => {
    expect(api.app.logs.length).toBeGreaterThan(0);
    expect(JSON.stringify(api.app.logs)).not.toMatch(/tly_[0-9A-Za-z]{12}_|tly_setup_|tallystick_session=/);
  });
});

describe('limits', () => {
  it('lets an address try ten wrong keys a minute, and a key ask so often', async () => {
    const { url } = await createTestDatabase();
    const api = await startApp('api', { DATABASE_URL: url, RATE_LIMIT: '20' });
    await api.waitForReady();
    const sql = new pg.Client({ connectionString: url });
    await sql.connect();
    const [key, other, foreign, unused] = [await makeKey(sql), await makeKey(sql), await makeKey(sql), await makeKey(sql)];
    await sql.query(`UPDATE api_keys SET revoked_at = now() WHERE key_id = $1`, [foreign.slice(4, 16)]);
    await sql.end();
    const ask = (text: string) => fetch(`${api.url}/api/v1/batches`, { headers: { Authorization: `Bearer ${text}` } });
    const statuses = async (text: string, times: number) => {
      const seen: number[] = [];
      for (let time = 0; time < times; time++) seen.push((await ask(text)).status);
      return seen;
    };
    expect((await statuses(key, 20)).every((status) => status === 200)).toBe(true);
    const refused = await ask(key);
    expect([refused.status, Number(refused.headers.get('retry-after'))]).toEqual([429, expect.any(Number)]);
    expect(((await refused.json()) as { code: string }).code).toBe('TOO_MANY_REQUESTS');
    expect((await ask(other)).status).toBe(200);
    const signIn = (text: string) =>
      fetch(`${api.url}/api/v1/session`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ key: text }),
      });
    // Each would be a row.
    expect([(await signIn(other)).status, (await signIn(key)).status]).toEqual([200, 429]);
    expect(await statuses(foreign, 12)).toEqual([...Array.from({ length: 10 }, () => 401), 429, 429]);
    // Not even a right one, so that guessing on is of no use; who has used one before is not disturbed.
    expect((await ask(unused)).status).toBe(429);
    expect((await ask(other)).status).toBe(200);
    expect(await api.stop()).toBe(0);
  });
});

describe('the database login of the API', () => {
  it.each([
    ['the owner', '', 'DATABASE_ALLOW_OWNER'],
    ['a role without the rights of the API', 'broker-watcher', 'GRANT tallystick_api'],
  ])('is refused when it is %s', async (_, app, advice) => {
    const { url } = await createTestDatabase();
    // By another name of the same address, so that the harness does not choose the login.
    const address = app === '' ? url : addressForApp(url, app);
    const api = await startApp('cli', { DATABASE_URL: address }, { main: 'dist/apps/api/src/main.js' });
    expect((await api.exited).code).toBe(78);
    expect(JSON.stringify(api.logs)).toContain(advice);
    expect(JSON.stringify(api.logs)).toContain('UnsuitableRoleError');
  });

  it('may be the owner where that is accepted', async () => {
    const { url } = await createTestDatabase();
    const env = { DATABASE_URL: url, DATABASE_ALLOW_OWNER: 'true', DATABASE_ALLOW_DATA_LOSS: 'true' };
    const api = await startApp('cli', env, { main: 'dist/apps/api/src/main.js' });
    await api.waitForReady();
    expect(await api.stop()).toBe(0);
  });

  it('is not asked for at all when HTTP would be open to everybody without TLS', async () => {
    const { url } = await createTestDatabase();
    const api = await startApp('api', { DATABASE_URL: url, HOST: '0.0.0.0' });
    expect((await api.exited).code).toBe(78);
    expect(JSON.stringify(api.logs)).toContain('TRUSTED_PROXIES');
  });

  it('is not asked for either when the proxies to trust are none', async () => {
    const { url } = await createTestDatabase();
    const api = await startApp('api', { DATABASE_URL: url, TRUSTED_PROXIES: '10.0.0.0/8,proxy.example' });
    expect((await api.exited).code).toBe(78);
    expect(JSON.stringify(api.logs)).toContain('TRUSTED_PROXIES: must hold addresses or networks');
  });
});
