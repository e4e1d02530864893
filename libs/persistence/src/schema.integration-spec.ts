import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres } from '@tallystick/embedded';
import { createEmptyDatabase, createTestDatabase, installedPostgres } from '@tallystick/testing';
import pg from 'pg';
import type { DataSource } from 'typeorm';
import { createDataSource } from './data-source.js';
import { assertDurability } from './durability.js';
import { assertSchema, expectedMigrations, migrate } from './schema.js';
import { uuidv7, uuidv7Floor } from './uuidv7.js';

const HOUR_MS = 3_600_000;

async function connected(url: string): Promise<DataSource> {
  return createDataSource(url, { poolSize: 3 }).initialize();
}

describe.each(await installedPostgres())('the schema on PostgreSQL $version', ({ binDir }) => {
  it('is made, is complete, equals the entities, and is taken down', async () => {
    const dataDir = join(mkdtempSync(join(tmpdir(), 'schema-')), 'postgres');
    const server = await startEmbeddedPostgres({ dataDir, port: 0, durable: false, binDir });
    const dataSource = await connected(server.url);
    try {
      await expect(assertSchema(dataSource)).rejects.toThrow(/older than this version needs.*tallystick migrate/);
      expect(await migrate(dataSource)).toEqual(expectedMigrations());
      await assertSchema(dataSource);
      expect((await dataSource.driver.createSchemaBuilder().log()).upQueries).toEqual([]);
      await dataSource.query(`SELECT ensure_partitions(now(), now() + interval '2 days')`);
      while (await lastMigration(dataSource)) await dataSource.undoLastMigration();
      expect(
        await dataSource.query(
          `SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname <> 'migrations'`,
        ),
      ).toEqual([]);
    } finally {
      await dataSource.destroy();
      await server.stop();
    }
  });
});

async function lastMigration(dataSource: DataSource): Promise<unknown> {
  return (await dataSource.query<unknown[]>('SELECT FROM migrations LIMIT 1')).length > 0;
}

/** Undoes migrations, newest first, until the one of `timestamp` is undone too. */
async function undoDownTo(dataSource: DataSource, timestamp: number): Promise<void> {
  const isApplied = async () => (await dataSource.query<unknown[]>('SELECT FROM migrations WHERE timestamp >= $1', [timestamp])).length > 0;
  while (await isApplied()) await dataSource.undoLastMigration();
}

describe('migrate', () => {
  it('lets one of two migrators work and the other find nothing to do', async () => {
    const { url } = await createEmptyDatabase();
    const migrators = await Promise.all([connected(url), connected(url), connected(url)]);
    const applied = await Promise.all(migrators.map(migrate));
    expect(applied.filter((names) => names.length > 0)).toEqual([expectedMigrations()]);
    await Promise.all(migrators.map((migrator) => migrator.destroy()));
  });

  it('is rolled back whole when it is interrupted, and succeeds at the next try', async () => {
    const { url } = await createEmptyDatabase();
    const dataSource = await connected(url);
    await dataSource.query('CREATE TABLE rejected_messages ()'); // stands in the way of the migration's last table
    await expect(migrate(dataSource)).rejects.toThrow(/already exists/);
    expect(await dataSource.query(`SELECT to_regclass('devices') AS devices`)).toEqual([{ devices: null }]);
    await dataSource.query('DROP TABLE rejected_messages');
    expect(await migrate(dataSource)).toEqual(expectedMigrations());
    await dataSource.destroy();
  });
});

it('lets the JSON indexes of days that are there already gather as little as those of new ones', async () => {
  const { url } = await createEmptyDatabase();
  const dataSource = await connected(url);
  await migrate(dataSource);
  await undoDownTo(dataSource, 1793000000008);
  await dataSource.query(`SELECT ensure_partitions('2033-01-01Z', '2033-01-02Z', true)`);
  await migrate(dataSource);
  const [{ parameters }] = await dataSource.query<[{ parameters: string[] }]>(
    `SELECT array_agg(DISTINCT reloptions::text) AS parameters FROM pg_class WHERE relname LIKE 'messages_2033%_raw_data'`,
  );
  expect(parameters).toEqual(['{gin_pending_list_limit=1024}']);
  await dataSource.destroy();
});

describe('the database', () => {
  let dataSource: DataSource;
  let sql: (text: string, values?: unknown[]) => Promise<Record<string, unknown>[]>;
  beforeAll(async () => {
    dataSource = await connected((await createTestDatabase()).url);
    sql = (text, values) => dataSource.query(text, values);
  });
  afterAll(() => dataSource.destroy());

  it('computes the floor of a UUIDv7 as the code does', async () => {
    for (const ms of [0, 1, 1_795_300_000_004, Date.now()]) {
      const [row] = await sql('SELECT uuidv7_floor($1) AS floor', [new Date(ms)]);
      expect(row!.floor).toBe(uuidv7Floor(ms));
    }
  });

  it('makes each missing day partition once, whoever asks at the same time', async () => {
    const ask = () => sql(`SELECT ensure_partitions('2031-01-01T23:59Z', '2031-01-03T00:00Z') AS name`);
    const made = (await Promise.all([ask(), ask(), ask()])).flat().map((row) => row.name);
    expect(made.sort()).toEqual(['messages_20310101', 'messages_20310102', 'messages_20310103']);
    expect(await ask()).toEqual([]);
    await expect(sql(`SELECT ensure_partitions('2031-01-01Z', '2040-01-01Z')`)).rejects.toThrow(/too long/);
  });

  it('leaves readers alone while a partition is made', async () => {
    const reader = dataSource.createQueryRunner();
    await reader.startTransaction();
    await reader.query('SELECT count(*) FROM messages');
    await sql(`SET lock_timeout = '2s'; SELECT ensure_partitions('2032-01-01Z', '2032-01-01Z')`);
    await reader.rollbackTransaction();
    await reader.release();
  });

  it('lends the rights of its owner to its own tables only: none of the caller takes the place of one of them', async () => {
    const [role, caller] = [`borrower_${process.pid}`, dataSource.createQueryRunner()];
    await caller.query(`CREATE ROLE ${role} IN ROLE tallystick_ingest; SET ROLE ${role}`);
    try {
      await caller.query(`CREATE TEMP TABLE quarantine_size_changes (change_id bigserial, bytes bigint);
        INSERT INTO quarantine_size_changes (bytes) VALUES (1);
        CREATE FUNCTION pg_temp.borrow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'run by %', current_user; END $$;
        CREATE TRIGGER borrow BEFORE DELETE ON quarantine_size_changes FOR EACH ROW EXECUTE FUNCTION pg_temp.borrow()`);
      await caller.query(`SELECT trim_quarantine(1, '1 day')`);
    } finally {
      await caller.query(`RESET ROLE; DROP OWNED BY ${role}; DROP ROLE ${role}`);
      await caller.release();
    }
    const open = await sql(
      `SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace
       AND proconfig::text NOT LIKE '%search_path=public, pg_temp%'`,
    );
    expect(open).toEqual([]);
  });

  it('makes partitions with or without the JSON index', async () => {
    await sql(`SELECT ensure_partitions('2033-01-01Z', '2033-01-01Z', false), ensure_partitions('2033-01-02Z', '2033-01-02Z', true)`);
    const indexes = await sql(
      `SELECT tablename, indexdef FROM pg_indexes WHERE indexdef LIKE '%gin%jsonb_path_ops%' AND tablename LIKE 'messages_2033%'`,
    );
    expect(indexes).toEqual([
      { tablename: 'messages_20330102', indexdef: expect.stringContaining(`WITH (gin_pending_list_limit='1024')`) as string },
    ]);
  });

  it('prunes to one partition by message_id, and by literal times', async () => {
    await sql(`SELECT ensure_partitions('2034-01-01Z', '2034-01-20Z')`);
    const partitionsRead = async (where: string) => {
      const rows = await sql(`EXPLAIN SELECT * FROM messages WHERE ${where}`);
      return new Set(rows.map((row) => /on (messages_\d+)/.exec(row['QUERY PLAN'] as string)?.[1]).filter(Boolean)).size;
    };
    const ms = Date.parse('2034-01-05T12:00:00Z');
    expect(await partitionsRead(`message_id = '${uuidv7(ms)}'`)).toBe(1);
    expect(await partitionsRead(`message_id >= '${uuidv7Floor(ms)}' AND message_id < '${uuidv7Floor(ms + HOUR_MS)}'`)).toBe(1);
    expect(await partitionsRead(`received_at >= '2034-01-05T12:00Z' AND received_at < '2034-01-06T12:00Z'`)).toBe(2);
  });

  it('reads one device for a message of it, also before the first ANALYZE, and finds the devices of a site by index', async () => {
    const { url } = await createTestDatabase();
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query(
      `INSERT INTO devices (tenant_id, device_id, site_id) SELECT 't', 'd' || n, 's' || n % 10 FROM generate_series(1, 1000) n`,
    );
    const [batchId, now] = [uuidv7(Date.now()), new Date()];
    await client.query(
      `INSERT INTO batches (batch_id, tenant_id, batch_hash, message_count, start_timestamp, end_timestamp, open_root, receiver)
       VALUES ($1, 't', repeat('0', 64), 100, $2, $2, '\\x00', 'r')`,
      [batchId, now],
    );
    await client.query('SELECT ensure_partitions($1, $1)', [now]);
    for (let n = 1; n <= 100; n++) {
      await client.query(
        `INSERT INTO messages (message_id, batch_id, leaf_index, tenant_id, site_id, device_id, topic, message_hash, payload, payload_size, nonce, received_at, qos, retained)
         VALUES ($1, $2, $3, 't', 's', 'd' || $3::int, 'x', '', '', 0, '', $4, 1, false)`,
        [uuidv7(now.getTime()), batchId, n, now],
      );
    }
    await client.query('SELECT pg_stat_force_next_flush()');
    const { rows } = await client.query<{ read: number }>(
      `SELECT sum(idx_tup_read)::int AS read FROM pg_stat_user_indexes WHERE relname = 'devices'`,
    );
    expect(rows[0]!.read).toBeLessThanOrEqual(200);
    await client.query('SET enable_seqscan = off');
    const plan = await client.query(`EXPLAIN SELECT * FROM devices WHERE tenant_id = 't' AND site_id = 's1'`);
    expect(JSON.stringify(plan.rows)).toContain('idx_devices_tenant_site');
    await client.end();
  });

  it('refuses to change or reopen a sealed batch, and to delete a logged one', async () => {
    const batchId = uuidv7(Date.now());
    await sql(
      `INSERT INTO batches (batch_id, tenant_id, batch_hash, message_count, start_timestamp, end_timestamp, open_root, receiver)
       VALUES ($1, 't', repeat('0', 64), 1, now(), now(), '\\x00', 'r')`,
      [batchId],
    );
    await sql(`UPDATE batches SET message_count = 2 WHERE batch_id = $1`, [batchId]);
    await sql(`UPDATE batches SET status = 'complete', sealed_at = now(), leaf_hashes = '\\x00' WHERE batch_id = $1`, [batchId]);
    for (const change of [
      `message_count = 3`,
      `batch_hash = repeat('1', 64)`,
      `leaf_hashes = NULL`,
      `status = 'pending'`,
      `tenant_id = 'x'`,
    ]) {
      await expect(sql(`UPDATE batches SET ${change} WHERE batch_id = $1`, [batchId])).rejects.toThrow(/is sealed/);
    }
    await sql(`UPDATE batches SET status = 'blockchain_pending', log_index = 7, solana_tx_signature = 's' WHERE batch_id = $1`, [batchId]);
    await expect(sql(`DELETE FROM batches WHERE batch_id = $1`, [batchId])).rejects.toThrow(/in the log/);
  });

  it('is refused when it may lose what it acknowledges', async () => {
    await expect(assertDurability(dataSource)).rejects.toThrow(/fsync = off.*DATABASE_ALLOW_DATA_LOSS/);
  });
});

describe('the pool', () => {
  it('survives the end of its connections', async () => {
    const { url } = await createTestDatabase();
    const dataSource = await connected(url);
    const other = new pg.Client({ connectionString: url });
    await other.connect();
    await other.query(
      'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
    );
    await other.end();
    await dataSource.query('SELECT 1').catch(() => undefined);
    expect(await dataSource.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await dataSource.destroy();
  });
});

describe('the rights of the services', () => {
  let dataSource: DataSource;
  beforeAll(async () => {
    dataSource = await connected((await createTestDatabase()).url);
    await dataSource.query(
      `SELECT ensure_partitions('2033-01-01Z', '2033-01-01Z'), ensure_history_partitions('2033-01-01Z', '2033-01-01Z')`,
    );
  });
  afterAll(() => dataSource.destroy());

  const granted = async (sql: string): Promise<string[]> => (await dataSource.query<{ line: string }[]>(sql)).map(({ line }) => line);

  it('on tables and columns are these and no others', async () => {
    const rights = await granted(
      `SELECT grantee || ': ' || string_agg(privilege_type, ' ' ORDER BY privilege_type) || ' on ' || table_name AS line
       FROM information_schema.table_privileges
       WHERE table_schema = 'public' AND grantee NOT IN (SELECT tableowner FROM pg_tables WHERE schemaname = 'public')
       GROUP BY grantee, table_name ORDER BY 1`,
    );
    expect(rights).toMatchInlineSnapshot(`
     [
       "tallystick_api: DELETE INSERT SELECT on alerts",
       "tallystick_api: DELETE INSERT SELECT on differing_batches",
       "tallystick_api: DELETE INSERT SELECT on web_sessions",
       "tallystick_api: INSERT SELECT on api_keys",
       "tallystick_api: INSERT SELECT on audit_log",
       "tallystick_api: SELECT on batches",
       "tallystick_api: SELECT on broker_metric_roll_ups",
       "tallystick_api: SELECT on broker_metrics",
       "tallystick_api: SELECT on broker_metrics_1h",
       "tallystick_api: SELECT on broker_metrics_1m",
       "tallystick_api: SELECT on broker_metrics_late",
       "tallystick_api: SELECT on broker_state",
       "tallystick_api: SELECT on clients",
       "tallystick_api: SELECT on devices",
       "tallystick_api: SELECT on event_counts",
       "tallystick_api: SELECT on events",
       "tallystick_api: SELECT on messages",
       "tallystick_api: SELECT on migrations",
       "tallystick_api: SELECT on observation_gaps",
       "tallystick_api: SELECT on quarantine_trims",
       "tallystick_api: SELECT on rejected_messages",
       "tallystick_api: SELECT on session_end_counts",
       "tallystick_api: SELECT on session_stats",
       "tallystick_api: SELECT on sessions",
       "tallystick_api: SELECT on setup_tokens",
       "tallystick_api: SELECT on subscription_popularity",
       "tallystick_api: SELECT on subscriptions",
       "tallystick_ingest: INSERT SELECT UPDATE on receiver_slots",
       "tallystick_ingest: INSERT SELECT UPDATE on receivers",
       "tallystick_ingest: INSERT SELECT on batches",
       "tallystick_ingest: INSERT SELECT on deduplication_keys",
       "tallystick_ingest: INSERT SELECT on devices",
       "tallystick_ingest: INSERT SELECT on messages_20330101",
       "tallystick_ingest: INSERT SELECT on rejected_messages",
       "tallystick_ingest: SELECT on messages",
       "tallystick_ingest: SELECT on migrations",
       "tallystick_watcher: DELETE INSERT SELECT UPDATE on broker_metrics_late",
       "tallystick_watcher: INSERT SELECT UPDATE on broker_metric_roll_ups",
       "tallystick_watcher: INSERT SELECT UPDATE on broker_metrics_1h",
       "tallystick_watcher: INSERT SELECT UPDATE on broker_metrics_1m",
       "tallystick_watcher: INSERT SELECT UPDATE on broker_state",
       "tallystick_watcher: INSERT SELECT UPDATE on clients",
       "tallystick_watcher: INSERT SELECT UPDATE on observation_gaps",
       "tallystick_watcher: INSERT SELECT UPDATE on receivers",
       "tallystick_watcher: INSERT SELECT UPDATE on sessions",
       "tallystick_watcher: INSERT SELECT UPDATE on subscriptions",
       "tallystick_watcher: INSERT SELECT on broker_metrics",
       "tallystick_watcher: INSERT SELECT on events",
       "tallystick_watcher: SELECT on migrations",
     ]
    `);
    const columns = await granted(
      `SELECT acl.grantee::regrole || ': UPDATE on ' || attrelid::regclass || ' (' || string_agg(attname, ', ' ORDER BY attname) || ')' AS line
       FROM pg_attribute CROSS JOIN LATERAL aclexplode(attacl) acl
       WHERE acl.privilege_type = 'UPDATE' GROUP BY acl.grantee, attrelid ORDER BY 1`,
    );
    expect(columns).toMatchInlineSnapshot(`
     [
       "tallystick_api: UPDATE on alerts (attempts, details, last_seen_at, level, next_attempt_at, notices, notified_at, notified_level, path, resolved_at, severity, summary)",
       "tallystick_api: UPDATE on api_keys (last_used_at, revoked_at)",
       "tallystick_api: UPDATE on devices (public_key, updated_at)",
       "tallystick_api: UPDATE on rejected_messages (resolved_at, status)",
       "tallystick_api: UPDATE on setup_tokens (used_at)",
       "tallystick_api: UPDATE on web_sessions (last_seen_at)",
       "tallystick_ingest: UPDATE on batches (batch_hash, close_reason, end_timestamp, leaf_hashes, message_count, open_root, sealed_at, start_timestamp, status)",
       "tallystick_ingest: UPDATE on devices (firmware_version, last_seen, message_count, site_id, updated_at)",
       "tallystick_ingest: UPDATE on rejected_messages (detail, reason, replayed_as, resolved_at, status, tenant_id)",
     ]
    `);
  });

  it('to call functions belong to nobody in general, but for what only computes or refuses', async () => {
    const open = await granted(
      `SELECT proname AS line FROM pg_proc
       WHERE pronamespace = 'public'::regnamespace AND has_function_privilege('public', oid, 'EXECUTE') ORDER BY 1`,
    );
    expect(open).toEqual([
      'quarantined_bytes',
      'refuse_change_of_audit_log',
      'refuse_change_of_sealed_batch',
      'refuse_delete_of_logged_batch',
      'uuidv7_floor',
    ]);
  });

  it('do not let a service run what it likes as the owner, by a trigger of ours on a table of its own', async () => {
    const caller = dataSource.createQueryRunner();
    await caller.query(`BEGIN; SET LOCAL ROLE tallystick_api`);
    try {
      await caller.query(`CREATE TYPE pg_temp.bait AS (x int);
        CREATE FUNCTION pg_temp.run(pg_temp.bait) RETURNS varchar LANGUAGE plpgsql AS 'BEGIN RETURN current_user; END';
        CREATE CAST (pg_temp.bait AS varchar) WITH FUNCTION pg_temp.run(pg_temp.bait) AS ASSIGNMENT;
        CREATE TEMP TABLE mine (broker pg_temp.bait, ts timestamptz, received_at timestamptz, action text)`);
      const trigger = `CREATE TRIGGER t AFTER INSERT ON mine REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_events()`;
      await expect(caller.query(trigger)).rejects.toThrow('permission denied for function count_events');
    } finally {
      await caller.query('ROLLBACK');
      await caller.release();
    }
  });

  it('on a partition, which has no policy, belong to the bridge alone', async () => {
    const holders = await granted(
      `SELECT DISTINCT acl.grantee::regrole::text AS line FROM pg_class CROSS JOIN LATERAL aclexplode(relacl) acl
       WHERE relispartition AND acl.grantee <> relowner ORDER BY 1`,
    );
    expect(holders).toEqual(['tallystick_ingest']);
  });
});
