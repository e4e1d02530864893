import { type RunningApp, startApp, createTestDatabase } from '@tallystick/testing';
import pg from 'pg';
import { expectDocumented } from './documented.js';

export interface Answer<T = Record<string, unknown>> {
  status: number;
  headers: Headers;
  body: T;
}

/** The built API in front of an empty database; the spec writes rows with SQL and asks by HTTP. Ended after the file. */
export class Api {
  private constructor(
    readonly app: RunningApp,
    readonly sql: pg.Client,
  ) {}

  static async start(env: Record<string, string> = {}): Promise<Api> {
    const database = await createTestDatabase();
    const sql = new pg.Client({ connectionString: database.url });
    // The end of the file drops the database under it.
    sql.on('error', () => undefined);
    await sql.connect();
    const app = await startApp('api', { DATABASE_URL: database.url, ...env });
    await app.waitForReady();
    return new Api(app, sql);
  }

  /** Asks, and checks the answer against the served OpenAPI document. */
  async ask<T = Record<string, unknown>>(path: string, init: RequestInit = {}): Promise<Answer<T>> {
    const response = await fetch(this.app.url + path, { redirect: 'manual', ...init });
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
