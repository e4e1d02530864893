import { type RunningApp, startApp, createTestDatabase } from '@tallystick/testing';
import { createApiKey, type NewApiKey, SCOPES, type Statements } from '@tallystick/access';
import pg from 'pg';
import { expectDocumented } from './documented.js';

export interface Answer<T = Record<string, unknown>> {
  status: number;
  headers: Headers;
  body: T;
}

/** Makes a key with SQL, as `tallystick keys create` does; of the platform with every scope, unless told otherwise. */
export async function makeKey(sql: pg.Client, given: Partial<NewApiKey> = {}): Promise<string> {
  const { key } = await createApiKey(
    statementsOf(sql),
    { label: 'spec', tenantId: null, scopes: SCOPES, expiresAt: null, ...given },
    { name: 'spec' },
  );
  return key;
}

export function statementsOf(sql: pg.Client): Statements {
  return async <Row>(text: string, values: readonly unknown[] = []) => (await sql.query<Row & object>(text, [...values])).rows;
}

/** The built API in front of an empty database; the spec writes rows with SQL and asks by HTTP. Ended after the file. */
export class Api {
  private constructor(
    readonly app: RunningApp,
    readonly sql: pg.Client,
    /** With the owner's login. */
    readonly databaseUrl: string,
    /** Of the platform, with every scope. */
    readonly key: string,
  ) {}

  static async start(env: Record<string, string> = {}): Promise<Api> {
    const database = await createTestDatabase();
    const sql = new pg.Client({ connectionString: database.url });
    // The end of the file drops the database under it.
    sql.on('error', () => undefined);
    await sql.connect();
    const app = await startApp('api', { DATABASE_URL: database.url, ...env });
    await app.waitForReady();
    return new Api(app, sql, database.url, await makeKey(sql));
  }

  /** Asks with the platform's key, unless `init` says otherwise. */
  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (!headers.has('Authorization') && !headers.has('Cookie')) headers.set('Authorization', `Bearer ${this.key}`);
    return fetch(this.app.url + path, { redirect: 'manual', ...init, headers });
  }

  /** Asks, and checks the answer against the served OpenAPI document. */
  async ask<T = Record<string, unknown>>(path: string, init: RequestInit = {}): Promise<Answer<T>> {
    const response = await this.fetch(path, init);
    const text = await response.text();
    const body: unknown = /json/.test(response.headers.get('content-type') ?? '') && text !== '' ? JSON.parse(text) : text;
    await expectDocumented(this.app.url, init.method ?? 'GET', path, response, body);
    return { status: response.status, headers: response.headers, body: body as T };
  }

  /** Every page of a list, following the Link header; nextCursor must say the same. */
  async pages<T>(path: string): Promise<T[][]> {
    const pages: T[][] = [];
    let next: string | undefined = path;
    while (next !== undefined) {
      const answer: Answer<{ items: T[]; nextCursor: string | null }> = await this.ask(next);
      expect(answer.status).toBe(200);
      pages.push(answer.body.items);
      next = /^<(.+)>; rel="next"$/.exec(answer.headers.get('link') ?? '')?.[1];
      expect(next === undefined ? null : new URL(next, this.app.url).searchParams.get('cursor')).toBe(answer.body.nextCursor);
    }
    return pages;
  }

  async stop(): Promise<void> {
    await this.sql.end();
    expect(await this.app.stop()).toBe(0);
  }
}
