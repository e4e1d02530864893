import { createTestDatabase } from '@tallystick/testing';
import pg from 'pg';
import { type Sight, Transaction, type TransactionKind } from './transaction.js';

const TENANT: Sight = { tenantId: "o'neil", isPlatform: false };
const ONCE: TransactionKind = { isReadOnly: true };
const MANY: TransactionKind = { begin: 'BEGIN ISOLATION LEVEL REPEATABLE READ', isReadOnly: true };
const WRITE: TransactionKind = { begin: 'BEGIN', isReadOnly: false };

const SETTINGS = `
  SELECT current_user AS role, coalesce(current_setting('app.tenant', true), '') AS tenant, coalesce(current_setting('app.platform', true), '') AS platform,
    current_setting('statement_timeout') AS "limit", current_setting('transaction_read_only') AS "readOnly",
    current_setting('transaction_isolation') AS isolation, current_setting('plan_cache_mode') AS planning,
    current_setting('enable_sort') || ' ' || current_setting('enable_bitmapscan') AS sorts`;
const WITHIN = { role: 'tallystick_api', tenant: "o'neil", platform: 'off', limit: '10s', readOnly: 'on', sorts: 'on on' };
const OUTSIDE = {
  role: 'postgres',
  tenant: '',
  platform: '',
  limit: '0',
  readOnly: 'off',
  isolation: 'read committed',
  planning: 'auto',
  sorts: 'on on',
};

describe('Transaction', () => {
  let pool: pg.Pool;

  beforeAll(async () => {
    pool = new pg.Pool({ connectionString: (await createTestDatabase()).url, max: 1 });
    pool.on('error', () => undefined);
  });
  afterAll(() => pool.end());

  const begin = async (kind: TransactionKind, sight = TENANT) => new Transaction(await pool.connect(), sight, kind);
  /** With the pool's one connection, as whoever gets it next finds it. */
  const leftBehind = async () => (await pool.query<object>(SETTINGS)).rows[0];

  it('of one statement has role, tenant and limits for it alone', async () => {
    const transaction = await begin(ONCE);
    const rows = await transaction.run((read) => read(SETTINGS));
    transaction.release();
    expect(rows).toEqual([{ ...WITHIN, isolation: 'read committed', planning: 'force_custom_plan' }]);
    expect(await leftBehind()).toEqual(OUTSIDE);
  });

  it('of several statements sees the same rows in all, planned as each asks for', async () => {
    const other = new pg.Client({ connectionString: pool.options.connectionString });
    await other.connect();
    const transaction = await begin(MANY, { tenantId: null, isPlatform: true });
    const seen = await transaction.run(async (read) => {
      const [first] = await read<{ planning: string }>(SETTINGS, [], 'once');
      const brokers = () => read<{ count: string }>('SELECT count(*) FROM broker_state');
      const before = await brokers();
      const [inOrder] = await read<{ planning: string; sorts: string }>(SETTINGS, [], 'once, in order');
      await other.query(`INSERT INTO broker_state (broker) VALUES ('new')`);
      return [first!.planning, inOrder!.sorts, await brokers(), before, (await read<{ planning: string }>(SETTINGS))[0]!.planning];
    });
    await transaction.commit();
    await other.end();
    expect(seen).toEqual(['force_generic_plan', 'off off', [{ count: '0' }], [{ count: '0' }], 'force_custom_plan']);
    expect(await leftBehind()).toEqual(OUTSIDE);
  });

  it('asks at once for what is asked for at once: each has its rows, planned as it asks for', async () => {
    const client = await pool.connect();
    let messages = 0;
    const query = client.query.bind(client) as (submitted: object) => unknown;
    client.query = ((submitted: object) => (messages++, query(submitted))) as typeof client.query;
    const transaction = new Transaction(client, TENANT, MANY);
    const asked = await transaction.run((read) =>
      Promise.all([
        read<object>(SETTINGS, [], 'once'),
        read(`SELECT n FROM generate_series(1, $1::int) n`, [3]),
        read(`SELECT 1 AS n WHERE false`),
        read<object>(SETTINGS, [], 'once'),
      ]),
    );
    expect(messages).toBe(1);
    Reflect.deleteProperty(client, 'query');
    await transaction.commit();
    const settings = [{ ...WITHIN, isolation: 'repeatable read', planning: 'force_generic_plan' }];
    expect(asked).toEqual([settings, [{ n: 1 }, { n: 2 }, { n: 3 }], [], settings]);
    expect(await leftBehind()).toEqual(OUTSIDE);
  });

  it('sends what is asked for later when it has the answer to what was asked for before', async () => {
    const transaction = await begin(MANY);
    const started = performance.now();
    const asked = await transaction.run((read) =>
      Promise.all([
        read(`SELECT pg_sleep(0.1)`),
        Promise.resolve()
          .then(() => undefined)
          .then(() => read<{ n: number }>(`SELECT 1 AS n`)),
        new Promise((resolve) => setTimeout(resolve, 20)).then(() => Promise.all([read(`SELECT 2 AS n`), read(`SELECT 3 AS n`)])),
      ]),
    );
    await transaction.commit();
    expect(performance.now() - started).toBeGreaterThan(95);
    expect(asked.slice(1)).toEqual([[{ n: 1 }], [[{ n: 2 }], [{ n: 3 }]]]);
    expect(await leftBehind()).toEqual(OUTSIDE);
  });

  it('runs nothing that is asked for after its end', async () => {
    let late: Promise<unknown>[] = [];
    for (const kind of [ONCE, MANY]) {
      const transaction = await begin(kind);
      const failed = transaction.run(async (read) => {
        const slow = read(`SELECT pg_sleep(0.05)`);
        await new Promise((resolve) => setTimeout(resolve, 10));
        late = [
          slow,
          read('SELECT current_user'),
          new Promise((resolve) => setTimeout(resolve, 100)).then(() => read('SELECT current_user')),
        ];
        for (const promise of late) promise.catch(() => undefined);
        throw new Error('something else');
      });
      await expect(failed).rejects.toThrow('something else');
      const [sent, ...others] = await Promise.allSettled(late);
      expect(sent!.status).toBe('fulfilled');
      for (const other of others) expect(other).toMatchObject({ status: 'rejected', reason: { message: 'the transaction has ended' } });
      expect(await leftBehind()).toEqual(OUTSIDE);
    }
  });

  it('lets the server give up one of those that are asked for at once: each has its own time', async () => {
    const transaction = await begin(MANY);
    const asked = transaction.run((read) => Promise.all([read(`SELECT pg_sleep(4)`), read(`SELECT pg_sleep(30)`)]));
    await expect(asked).rejects.toMatchObject({ code: '57014' });
    expect(await leftBehind()).toEqual(OUTSIDE);
  });

  it('gives no answer to what is asked for beside a statement that fails', async () => {
    const transaction = await begin(MANY);
    const texts = ['SELECT 1 AS n', 'SELECT nothing', 'SELECT 2 AS n'];
    let outcomes: PromiseSettledResult<unknown>[] = [];
    const failed = transaction.run(async (read) => {
      outcomes = await Promise.allSettled(texts.map((text) => read(text)));
      return read('SELECT 3');
    });
    await expect(failed).rejects.toThrow('current transaction is aborted');
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(await leftBehind()).toEqual(OUTSIDE);
  });

  it.each<[string, TransactionKind]>([
    ['one statement', ONCE],
    ['several', MANY],
    ['a write', WRITE],
  ])('of %s that fails leaves nothing behind, and its connection is used again', async (_, kind) => {
    const [pid] = (await pool.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows;
    for (const text of [`SELECT $1::int + 1 AS n`, 'SELECT nothing', 'SELEKT']) {
      const transaction = await begin(kind);
      await expect(transaction.run((read) => read(text, text.includes('$1') ? ['x'] : []))).rejects.toThrow(pg.DatabaseError);
      expect(await leftBehind()).toEqual(OUTSIDE);
    }
    // The statement that was prepared and then refused its value takes another.
    const transaction = await begin(kind);
    expect(await transaction.run((read) => read(`SELECT $1::int + 1 AS n`, ['1']))).toEqual([{ n: 2 }]);
    transaction.release();
    await pool.query('ROLLBACK');
    expect((await pool.query('SELECT pg_backend_pid() AS pid')).rows).toEqual([pid]);
  });

  it('does not run a statement whose tenant could not be set, and none outside of a transaction of its own', async () => {
    const broken = await begin(ONCE, { tenantId: 'a\0b', isPlatform: false });
    await expect(broken.run((read) => read('SELECT 1 AS n'))).rejects.toThrow('invalid byte sequence');
    const second = await begin(ONCE);
    await expect(second.run((read) => read('SELECT 1').then(() => read('SELECT 2')))).rejects.toThrow('a second statement');
    expect(await leftBehind()).toEqual(OUTSIDE);
  });

  it('changes nothing in a read, and what it writes in a write, unless that fails', async () => {
    const label = (kind: TransactionKind) => begin(kind, { tenantId: null, isPlatform: true });
    const insert = `INSERT INTO web_sessions (session_hash, key_id) SELECT '\\x00', key_id FROM api_keys WHERE false`;
    for (const kind of [ONCE, MANY]) {
      await expect((await label(kind)).run((read) => read(insert))).rejects.toThrow('read-only transaction');
    }
    const write = await label(WRITE);
    expect(await write.run((run) => run(insert))).toEqual([]);
    await write.commit();
    expect(await leftBehind()).toEqual(OUTSIDE);
  });

  it('prepares again what the tables no longer fit', async () => {
    await pool.query('CREATE TABLE shifting (n int); INSERT INTO shifting VALUES (1); GRANT SELECT ON shifting TO tallystick_api');
    const ask = async () => {
      const transaction = await begin(ONCE);
      const rows = await transaction.run((read) => read('SELECT n FROM shifting'));
      transaction.release();
      return rows;
    };
    expect(await ask()).toEqual([{ n: 1 }]);
    await pool.query('ALTER TABLE shifting ALTER n TYPE text');
    await expect(ask()).rejects.toThrow('cached plan must not change result type');
    expect(await ask()).toEqual([{ n: '1' }]);
  });

  it('keeps the statements that were asked for last, and closes the others', async () => {
    const ask = async (text: string) => {
      const transaction = await begin(ONCE);
      // One that fails has given its connection back.
      await transaction
        .run((read) => read(text))
        .then(
          () => transaction.release(),
          () => undefined,
        );
    };
    const prepared = async () => (await pool.query<{ statement: string }>('SELECT statement FROM pg_prepared_statements')).rows;
    for (let n = 0; n < 200; n++) {
      await ask(`SELECT 'always'`);
      await ask(`SELECT ${n}`);
      // Behind what fails, the server skips all: also what would close another.
      if (n % 10 === 0) await ask(`SELECT nothing, ${n}`);
    }
    const texts = (await prepared()).map(({ statement }) => statement);
    expect(texts.length).toBeLessThanOrEqual(100);
    expect(texts).toContain(`SELECT 'always'`);
    expect(texts).toContain('SELECT 199');
    expect(texts).not.toContain('SELECT 0');
    await ask('SELECT 0');
    expect((await prepared()).map(({ statement }) => statement)).toContain('SELECT 0');
  });

  it('throws a connection away that breaks in it', async () => {
    const transaction = await begin(MANY);
    const killed = transaction.run((read) => read('SELECT pg_terminate_backend(pg_backend_pid())'));
    await expect(killed).rejects.toThrow();
    expect(await leftBehind()).toEqual(OUTSIDE);
  });
});
