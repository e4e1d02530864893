import { createTestDatabase } from '@tallystick/testing';
import pg from 'pg';
import { createDataSource } from './data-source.js';
import { QuarantineBound1793000000003 } from './migrations/1793000000003-quarantine-bound.js';

const MIB = 1024 * 1024;
/** What a rejection of these specs counts for besides its payload: 400, and a topic of one byte. */
const ROW_BYTES = 401;
const NO_AGE = '1000 years';
const NO_SIZE = 2 ** 50;

interface Trim {
  removed_by_age: number;
  removed_by_size: number;
  more: boolean;
}

describe('trim_quarantine', () => {
  let sql: pg.Client;
  let other: pg.Client;
  let url: string;
  beforeEach(async () => {
    ({ url } = await createTestDatabase());
    const connect = async () => {
      const client = new pg.Client({ connectionString: url });
      client.on('error', () => undefined);
      await client.connect();
      return client;
    };
    [sql, other] = await Promise.all([connect(), connect()]);
  });
  afterEach(() => Promise.all([sql.end(), other.end()]));

  /** Rejections number `from` to `to`, a minute apart, the last one received now; all with a payload of this size. */
  async function reject(from: number, to: number, payloadBytes: number, status = 'new'): Promise<void> {
    await sql.query(
      `INSERT INTO rejected_messages (rejection_id, received_at, topic, payload, payload_size, payload_hash, reason, receiver, qos, detail, status)
       SELECT gen_random_uuid(), now() - ($2 - i) * interval '1 minute', 't', convert_to(repeat('x', $3), 'UTF8'), $3, '', 'not_json', 'r', 1, i, $4
       FROM generate_series($1::int, $2::int) i`,
      [from, to, payloadBytes, status],
    );
  }
  async function trim(maxBytes: number, maxAge = NO_AGE, client = sql): Promise<Trim | undefined> {
    return (await client.query<Trim>(`SELECT * FROM trim_quarantine($1, $2)`, [maxBytes, maxAge])).rows[0];
  }
  async function kept(): Promise<number[]> {
    const { rows } = await sql.query<{ i: number }>('SELECT detail::int AS i FROM rejected_messages ORDER BY i');
    return rows.map(({ i }) => i);
  }
  async function trims(): Promise<unknown[]> {
    const { rows } = await sql.query(
      `SELECT reason, removed_rows, removed_bytes::int, newest_received_at - oldest_received_at = (removed_rows - 1) * interval '1 minute' AS spans
       FROM quarantine_trims ORDER BY trim_id`,
    );
    return rows as unknown[];
  }
  /** What the account says, and what is there. */
  async function sizes(): Promise<[number, number]> {
    const { rows } = await sql.query<{ account: string; actual: string }>(
      `SELECT (SELECT coalesce(sum(bytes), 0) FROM quarantine_size_changes) AS account,
              (SELECT coalesce(sum(octet_length(payload) + octet_length(topic) + 400), 0) FROM rejected_messages) AS actual`,
    );
    return [Number(rows[0]!.account), Number(rows[0]!.actual)];
  }

  it('removes the oldest beyond the size, and only them, and records it', async () => {
    await reject(1, 10, 1_000);
    const each = 1_000 + ROW_BYTES;
    expect(await trim(6 * each)).toEqual({ removed_by_age: 0, removed_by_size: 4, more: false });
    expect(await kept()).toEqual([5, 6, 7, 8, 9, 10]);
    expect(await trims()).toEqual([{ reason: 'size', removed_rows: 4, removed_bytes: 4 * each, spans: true }]);
    // One byte less makes one row less.
    expect(await trim(6 * each - 1)).toMatchObject({ removed_by_size: 1 });
    expect(await sizes()).toEqual([5 * each, 5 * each]);
  });

  it('removes what is older than the age, and records it apart from the size', async () => {
    await reject(1, 10, 1_000);
    const each = 1_000 + ROW_BYTES;
    expect(await trim(6 * each, '7 minutes 30 seconds')).toEqual({ removed_by_age: 2, removed_by_size: 2, more: false });
    expect(await kept()).toEqual([5, 6, 7, 8, 9, 10]);
    expect(await trims()).toEqual(['age', 'size'].map((reason) => ({ reason, removed_rows: 2, removed_bytes: 2 * each, spans: true })));
  });

  it('removes and records nothing within the bound, or without one', async () => {
    const nothing = { removed_by_age: 0, removed_by_size: 0, more: false };
    expect(await trim(0)).toEqual(nothing);
    await reject(1, 3, 1_000);
    expect(await trim(3 * (1_000 + ROW_BYTES), '3 minutes')).toEqual(nothing);
    expect((await sql.query(`SELECT * FROM trim_quarantine(NULL, NULL)`)).rows).toEqual([nothing]);
    expect(await kept()).toEqual([1, 2, 3]);
    expect(await trims()).toEqual([]);
  });

  it('keeps what waits for its replay, however old, and makes room elsewhere', async () => {
    await reject(1, 3, 1_000, 'replay_requested');
    await reject(4, 10, 1_000);
    expect(await trim(5 * (1_000 + ROW_BYTES), '30 seconds')).toMatchObject({ removed_by_age: 6, removed_by_size: 0 });
    expect(await kept()).toEqual([1, 2, 3, 10]);
    expect(await trim(0)).toMatchObject({ removed_by_size: 1 });
    expect(await kept()).toEqual([1, 2, 3]);
    await sql.query(`UPDATE rejected_messages SET status = 'replayed' WHERE detail = '2'`);
    expect(await trim(0)).toMatchObject({ removed_by_size: 1 });
    expect(await kept()).toEqual([1, 3]);
  });

  it('keeps a rejection whose replay is requested while it is being removed', async () => {
    await reject(1, 5, 1_000);
    await other.query('BEGIN');
    await other.query(`UPDATE rejected_messages SET status = 'replay_requested' WHERE detail = '2'`);
    const trimming = trim(0);
    const isWaiting = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
    while ((await other.query(isWaiting)).rowCount === 0);
    await other.query('COMMIT');
    expect(await trimming).toMatchObject({ removed_by_size: 4 });
    expect(await kept()).toEqual([2]);
    expect(await trims()).toMatchObject([{ removed_rows: 4, removed_bytes: 4 * (1_000 + ROW_BYTES) }]);
    expect(await sizes()).toEqual([1_000 + ROW_BYTES, 1_000 + ROW_BYTES]);
  });

  it('gives up a locked row in time, and removes it later', async () => {
    await reject(1, 2, 1_000);
    await other.query('BEGIN');
    await other.query(`SELECT FROM rejected_messages WHERE detail = '1' FOR UPDATE`);
    await expect(trim(0)).rejects.toThrow(/lock timeout/);
    expect(await kept()).toEqual([1, 2]);
    await other.query('COMMIT');
    expect(await trim(0)).toMatchObject({ removed_by_size: 2 });
  });

  it('lets one of several trim, and the others do nothing at once', async () => {
    await reject(1, 10, 1_000);
    await other.query('BEGIN');
    expect(await trim(5 * (1_000 + ROW_BYTES), NO_AGE, other)).toMatchObject({ removed_by_size: 5 });
    expect(await trim(5 * (1_000 + ROW_BYTES))).toBeUndefined();
    await other.query('COMMIT');
    expect(await trim(5 * (1_000 + ROW_BYTES))).toMatchObject({ removed_by_size: 0 });
    expect(await trims()).toHaveLength(1);
  });

  it('never removes too much when two trim in turn what others add meanwhile', async () => {
    const bound = 100 * (1_000 + ROW_BYTES);
    let over = false;
    const trimmers = [sql, other].map(async (client) => {
      while (!over) await trim(bound, NO_AGE, client);
    });
    for (let i = 0; i < 50; i++) await reject(20 * i + 1, 20 * i + 20, 1_000);
    over = true;
    await Promise.all(trimmers);
    await trim(bound);
    expect(await sizes()).toEqual([bound, bound]);
    const { rows } = await sql.query(`SELECT sum(removed_rows)::int AS rows, sum(removed_bytes)::int AS bytes FROM quarantine_trims`);
    expect(rows).toEqual([{ rows: 900, bytes: 900 * (1_000 + ROW_BYTES) }]);
  });

  it('works in portions of 20,000 rows and of 64 MiB', async () => {
    await reject(1, 20_001, 0);
    expect(await trim(0)).toEqual({ removed_by_age: 0, removed_by_size: 20_000, more: true });
    expect(await trim(0)).toEqual({ removed_by_age: 0, removed_by_size: 1, more: false });
    await reject(1, 300, MIB / 4);
    expect(await trim(0)).toEqual({ removed_by_age: 0, removed_by_size: 256, more: true });
    expect(await trim(NO_SIZE, '30 seconds')).toEqual({ removed_by_age: 43, removed_by_size: 0, more: false });
    expect(await trim(0)).toEqual({ removed_by_age: 0, removed_by_size: 1, more: false });
    expect(await sizes()).toEqual([0, 0]);
  });

  it('counts what anybody inserts, deletes or truncates, when it is committed', async () => {
    await reject(1, 10, 1_000);
    await sql.query(`UPDATE rejected_messages SET status = 'discarded'`);
    await sql.query(`DELETE FROM rejected_messages WHERE detail::int > 7`);
    await sql.query(`DELETE FROM rejected_messages WHERE detail = 'nothing'`);
    expect(await sizes()).toEqual([7 * (1_000 + ROW_BYTES), 7 * (1_000 + ROW_BYTES)]);
    await sql.query('BEGIN');
    await reject(11, 20, 1_000);
    await sql.query('ROLLBACK');
    expect(await sizes()).toEqual([7 * (1_000 + ROW_BYTES), 7 * (1_000 + ROW_BYTES)]);
    await sql.query('TRUNCATE rejected_messages');
    expect(await sizes()).toEqual([0, 0]);
  });

  it('counts what was in quarantine before the migration', async () => {
    const dataSource = await createDataSource(url, { poolSize: 1 }).initialize();
    const runner = dataSource.createQueryRunner();
    const migration = new QuarantineBound1793000000003();
    await migration.down(runner);
    await reject(1, 10, 1_000);
    await migration.up(runner);
    await dataSource.destroy();
    expect(await sizes()).toEqual([10 * (1_000 + ROW_BYTES), 10 * (1_000 + ROW_BYTES)]);
  });

  it('asks of its caller neither the right to delete nor one on the account', async () => {
    await reject(1, 3, 1_000);
    await sql.query(`CREATE ROLE trimmer_${process.pid} IN ROLE tallystick_ingest`);
    try {
      await sql.query(`SET ROLE trimmer_${process.pid}`);
      await reject(4, 4, 1_000);
      await expect(sql.query('DELETE FROM rejected_messages')).rejects.toThrow(/permission denied/);
      expect(await trim(2 * (1_000 + ROW_BYTES))).toMatchObject({ removed_by_size: 2 });
    } finally {
      await sql.query(`RESET ROLE; DROP OWNED BY trimmer_${process.pid}; DROP ROLE trimmer_${process.pid}`);
    }
  });
});
