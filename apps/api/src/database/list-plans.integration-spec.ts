import { createTestDatabase } from '@tallystick/testing';
import pg from 'pg';
import { planned, type PlanNode, readingOf, rowsRead } from '../../test/plans.js';
import { readingAs } from '../../test/reader.js';
import { listBatches } from '../batches/batches.queries.js';
import { findDevices, findDeviceStatistics, listDevices } from '../devices/devices.queries.js';
import type { CursorKey } from '../http/cursor.js';
import type { JsonText } from '../http/json-text.js';
import { ListRequest } from '../http/list.js';
import { DAY_MS } from '../http/time-range.js';
import type { MessageSummary } from '../messages/messages.dto.js';
import { listBatchMessages, listMessages, messageKeys, type MessagesFilter } from '../messages/messages.queries.js';
import { listRejections, type RejectionsFilter } from '../rejections/rejections.queries.js';
import type { Reader } from './database.js';

const TENANT = 'tenant-07';
const DEVICE = 'DEVICE_0007';
/** A tenant of one message. */
const RARE = 'tenant-rare';

/** Noon of yesterday, UTC: whatever the time, the rows fill the same parts of the same days. */
const NOON = new Date(new Date().setUTCHours(-12, 0, 0, 0));
const NOW = `'${NOON.toISOString()}'::timestamptz`;

/** Two days of 50 tenants with 40 devices each: 100,000 messages in 2,000 batches, 20,000 rejections. */
const ROWS = [
  `SELECT ensure_partitions(${NOW} - interval '2 days', now())`,
  `INSERT INTO devices (tenant_id, device_id, site_id, created_at)
   SELECT 'tenant-' || lpad((n % 50)::text, 2, '0'), 'DEVICE_' || lpad(n::text, 4, '0'), 'line' || n % 7, ${NOW} - interval '3 days' + n * interval '1 s'
   FROM generate_series(0, 1999) n`,
  `INSERT INTO batches (batch_id, tenant_id, batch_hash, message_count, start_timestamp, end_timestamp, status, created_at, open_root, receiver,
                        sealed_at, close_reason)
   SELECT (left(uuidv7_floor(t)::text, 24) || lpad(to_hex(n), 12, '0'))::uuid, 'tenant-' || lpad((n % 50)::text, 2, '0'), repeat('0', 64), 50,
     t, ${NOW}, 'complete', t, decode(repeat('00', 32), 'hex'), 'bridge-1', ${NOW}, 'size'
   FROM generate_series(0, 1999) n, LATERAL (SELECT ${NOW} - interval '2 days' + n * interval '86 s' AS t) x`,
  `INSERT INTO messages (message_id, batch_id, leaf_index, tenant_id, site_id, device_id, topic, message_hash, raw_data, payload, payload_size, nonce,
                         received_at, qos, retained)
   SELECT (left(uuidv7_floor(t)::text, 24) || lpad(to_hex(n), 12, '0'))::uuid, b.batch_id, n / 2000,
     'tenant-' || lpad((n % 50)::text, 2, '0'), 'line' || n % 2000 % 7, 'DEVICE_' || lpad((n % 2000)::text, 4, '0'), 'veep/x',
     encode(sha256(n::text::bytea), 'hex'), raw_data, convert_to(raw_data::text, 'UTF8'), octet_length(raw_data::text),
     decode(repeat('00', 16), 'hex'), t, 1, false
   FROM generate_series(0, 99999) n
   CROSS JOIN LATERAL (SELECT ${NOW} - interval '2 days' + n * interval '1.72 s' AS t,
     jsonb_build_object('n', n, 'unit', 'kWh', 'fortieth', n % 40, 'thousandth', n % 1000) AS raw_data) x
   JOIN (SELECT batch_id, row_number() OVER (ORDER BY batch_id) - 1 AS place FROM batches) b ON b.place = n % 2000`,
  `INSERT INTO rejected_messages (rejection_id, received_at, tenant_id, topic, payload, payload_size, payload_hash, reason, receiver, qos)
   SELECT gen_random_uuid(), ${NOW} - interval '2 days' + n * interval '8 s', CASE WHEN n % 3 > 0 THEN 'tenant-' || lpad((n % 50)::text, 2, '0') END,
     'veep/x', '', 0, repeat('0', 64), CASE WHEN n % 100 = 57 THEN 'too_deep' ELSE 'not_json' END, 'bridge-1', 1
   FROM generate_series(0, 19999) n`,
  `INSERT INTO devices (tenant_id, device_id, site_id) VALUES ('${RARE}', 'ONE', 'line0')`,
  `INSERT INTO batches (batch_id, tenant_id, batch_hash, message_count, start_timestamp, end_timestamp, status, created_at, open_root, receiver,
                        sealed_at, close_reason)
   SELECT uuidv7_floor(t), '${RARE}', repeat('0', 64), 1, t, t, 'complete', t, decode(repeat('00', 32), 'hex'), 'bridge-1', ${NOW}, 'size'
   FROM (SELECT ${NOW} - interval '40 hours' AS t) x`,
  `INSERT INTO messages (message_id, batch_id, leaf_index, tenant_id, site_id, device_id, topic, message_hash, payload, payload_size, nonce,
                         received_at, qos, retained)
   SELECT uuidv7_floor(created_at), batch_id, 0, tenant_id, 'line0', 'ONE', 'veep/x', repeat('0', 64), '', 0, decode(repeat('00', 16), 'hex'),
     created_at, 1, false
   FROM batches WHERE tenant_id = '${RARE}'`,
  'VACUUM ANALYZE devices, batches, messages, rejected_messages',
];

const deviceOf = ({ text }: JsonText) => (JSON.parse(text) as MessageSummary).deviceId;
const idOf = ({ text }: JsonText) => (JSON.parse(text) as MessageSummary).messageId;

const yesterday = () => new Date(Date.now() - DAY_MS);
const hoursAgo = (hours: number) => new Date(NOON.getTime() - hours * 3_600_000);

/** As many rows as this at most are read, of 100,000 messages, for a page of 50. */
const FEW = 3_000;

/** A connection to a database of its own, in which the statements have been run. */
async function databaseWith(statements: readonly string[]): Promise<pg.Client> {
  const sql = new pg.Client({ connectionString: (await createTestDatabase()).url });
  // The end of the file drops the database under it.
  sql.on('error', () => undefined);
  await sql.connect();
  for (const statement of statements) await sql.query(statement);
  return sql;
}

describe('a list that is asked for as the role of the API', () => {
  let sql: pg.Client;

  beforeAll(async () => {
    sql = await databaseWith(ROWS);
    // What VACUUM has read for the BRIN index is not to be counted as read by a query.
    await sql.query('SELECT pg_stat_force_next_flush()');
  }, 120_000);
  afterAll(() => sql.end());

  const reading = <T>(tenantId: string | null, work: (read: Reader) => Promise<T>) => readingAs(sql, tenantId, work);
  const plannedOf = (query: (read: Reader) => Promise<unknown>) => reading(TENANT, (read) => planned(read, query));

  const LARGE = /^(messages|batches|devices|rejected_messages)/;
  const ofLargeTables = (nodes: PlanNode[]) => readingOf(LARGE, nodes);
  const scans = (nodes: PlanNode[]) => ofLargeTables(nodes).filter((node) => node['Node Type'] === 'Seq Scan' && rowsRead([node]) > 0);

  const list = (kinds: CursorKey[]) => new ListRequest('list', kinds, { limit: 50 });
  const day = { from: hoursAgo(24) };
  const messages = (filter: MessagesFilter) => (read: Reader) => listMessages(read, filter, list(messageKeys(filter)));
  const rejections = (filter: RejectionsFilter) => (read: Reader) => listRejections(read, filter, list(['time', 'uuid']));
  const ofBatch = async (read: Reader) => {
    const { batchId } = (await listBatches(read, {}, list(['time', 'uuid']))).items[0]!;
    return listBatchMessages(read, batchId, list(['int', 'uuid']));
  };
  const byBatch = async (read: Reader) => {
    const { batchId } = (await listBatches(read, {}, list(['time', 'uuid']))).items[0]!;
    return messages({ batchId })(read);
  };
  const furtherPage = async (read: Reader) => {
    const { nextCursor } = await listMessages(read, day, list(['uuid']));
    return listMessages(read, day, new ListRequest('list', ['uuid'], { limit: 50, cursor: nextCursor! }));
  };
  const device = async (read: Reader) => findDeviceStatistics(read, (await findDevices(read, { deviceId: DEVICE }))[0]!);

  it.each<[string, (read: Reader) => Promise<unknown>]>([
    ['messages of a day', messages(day)],
    ['messages of a day, a further page', furtherPage],
    ['messages of an hour', messages({ from: hoursAgo(30), to: hoursAgo(29) })],
    ['messages of a device', messages({ deviceId: DEVICE })],
    ['messages of a device within an hour', messages({ deviceId: DEVICE, from: hoursAgo(30), to: hoursAgo(29) })],
    ['messages of a site', messages({ ...day, siteId: 'line3' })],
    ['messages of a hash', messages({ hash: '5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9' })],
    ['messages of a day by their JSON', messages({ ...day, data: '{"n":99957}' })],
    ['messages of a device by their JSON', messages({ deviceId: DEVICE, data: '{"n":7}' })],
    ['messages of a batch', ofBatch],
    ['messages by batch', byBatch],
    ['batches', (read) => listBatches(read, {}, list(['time', 'uuid']))],
    ['batches of a status', (read) => listBatches(read, { status: 'pending' }, list(['time', 'uuid']))],
    ['devices', (read) => listDevices(read, {}, list(['time', 'text', 'text']))],
    ['devices of a site', (read) => listDevices(read, { siteId: 'line3' }, list(['time', 'text', 'text']))],
    ['a device with its statistics', device],
    ['rejections', rejections({})],
    ['rejections of a reason', rejections({ reason: 'too_deep' })],
    ['rejections of a status', rejections({ status: 'discarded' })],
    ['rejections of a day', rejections(day)],
  ])('scans no large table for %s of one tenant', async (_, query) => {
    const nodes = await plannedOf(query);
    expect(ofLargeTables(nodes)).not.toEqual([]);
    expect(scans(nodes)).toEqual([]);
    expect(rowsRead(ofLargeTables(nodes))).toBeLessThan(FEW);
  });

  it.each<[string, MessagesFilter, boolean]>([
    ['the newest', {}, false],
    ['those of a day', day, false],
    ['those of all days', { from: hoursAgo(72) }, true],
    ['a further page', {}, true],
    ['those before a time', { to: hoursAgo(30) }, false],
    ['a further page of a day', day, true],
  ])('reads no more messages of everybody than a page takes: %s', async (_, filter, isFurther) => {
    const nodes = await reading(null, async (read) => {
      const { nextCursor } = await listMessages(read, filter, list(['uuid']));
      const cursor = isFurther ? nextCursor! : undefined;
      return planned(read, (explaining) => listMessages(explaining, filter, new ListRequest('list', ['uuid'], { limit: 50, cursor })));
    });
    expect(scans(nodes)).toEqual([]);
    expect(rowsRead(ofLargeTables(nodes))).toBe(51);
  });

  it.each<[string, string, (read: Reader) => Promise<unknown>]>([
    ['those of an hour', TENANT, messages({ from: hoursAgo(30), to: hoursAgo(29) })],
    ['those of a site', TENANT, messages({ ...day, siteId: 'line3' })],
    ['those of a batch', TENANT, byBatch],
    ['those of a batch in leaf order', TENANT, ofBatch],
    ['the one of a tenant with no other', RARE, messages({ from: hoursAgo(60) })],
  ])('reads no more messages of a tenant than a page takes: %s', async (_, tenantId, query) => {
    const rows = rowsRead(readingOf(/^messages/, await reading(tenantId, (read) => planned(read, query))));
    expect(rows).toBeGreaterThan(0);
    expect(rows).toBeLessThanOrEqual(52);
  });

  it.each([
    ['the platform', null, 100_001],
    ['a tenant that names itself', TENANT, 2_000],
  ])('expects of the rows that %s sees at least half, and asks once who is asking', async (_, tenantId, rows) => {
    const nodes = await reading(tenantId, (read) =>
      planned(read, (explaining) => explaining('SELECT raw_data FROM messages WHERE $1::text IS NULL OR tenant_id = $1', [tenantId])),
    );
    const scans = readingOf(/^messages/, nodes);
    expect(rowsRead(nodes.filter((node) => node['Parent Relationship'] === 'InitPlan'))).toBeLessThanOrEqual(2);
    expect(scans.reduce((sum, node) => sum + node['Actual Rows'], 0)).toBe(rows);
    expect(scans.reduce((sum, node) => sum + node['Plan Rows'], 0)).toBeGreaterThan(rows * 0.4);
  });

  it('counts what a device has sent from the index alone', async () => {
    const counting = (await plannedOf(device)).filter((node) => node['Node Type'] === 'Index Only Scan');
    expect(counting.length).toBeGreaterThan(0);
  });

  describe('by JSON, of the whole platform', () => {
    const search = (read: Reader, filter: MessagesFilter) => listMessages(read, { from: hoursAgo(60), ...filter }, list(['uuid']));
    /** What the messages have been read by so far: scans of JSON indexes, and rows of tables and of other indexes. */
    const readSoFar = async (read: Reader) => {
      const [counters] = await read<{ jsonScans: number; rowsScanned: number }>(
        `SELECT (sum(pg_stat_get_xact_numscans(indexes.oid)) FILTER (WHERE amname = 'gin'))::int AS "jsonScans",
           (sum(pg_stat_get_xact_tuples_returned(indexes.oid)) FILTER (WHERE amname <> 'gin')
            + (SELECT sum(pg_stat_get_xact_tuples_returned(inhrelid)) FROM pg_inherits WHERE inhparent = 'messages'::regclass))::int AS "rowsScanned"
         FROM pg_inherits JOIN pg_index ON indrelid = inhrelid JOIN pg_class indexes ON indexes.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
         WHERE inhparent = 'messages'::regclass`,
      );
      return counters!;
    };
    const searched = async (read: Reader, filter: MessagesFilter) => {
      const before = await readSoFar(read);
      const { items } = await search(read, filter);
      const after = await readSoFar(read);
      return {
        ids: items.map(idOf),
        jsonScans: after.jsonScans - before.jsonScans,
        rowsScanned: after.rowsScanned - before.rowsScanned,
      };
    };

    /** As the owner, which sees all. */
    const plainly = async (contained: string) => {
      const { rows } = await sql.query<{ id: string }>(
        `SELECT message_id AS id FROM messages WHERE raw_data @> $1 ORDER BY message_id DESC LIMIT 50`,
        [contained],
      );
      return rows.map(({ id }) => id);
    };

    it('finds a rare one by the index of raw_data', async () => {
      const { ids, jsonScans, rowsScanned } = await reading(null, (read) => searched(read, { data: '{"n":4711}' }));
      expect(ids).toEqual(await plainly('{"n":4711}'));
      expect(ids).toHaveLength(1);
      expect(rowsScanned).toBeLessThan(FEW);
      expect(jsonScans).toBeGreaterThan(0);
    });

    describe('although PostgreSQL has no idea how many there are', () => {
      const statistics = (target: number) =>
        sql.query(`DO $$ DECLARE partition regclass; BEGIN
          FOR partition IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'messages'::regclass LOOP
            EXECUTE format('ALTER TABLE %s ALTER raw_data SET STATISTICS ${target}', partition);
            DELETE FROM pg_statistic WHERE starelid = partition;
            EXECUTE format('ANALYZE %s', partition);
          END LOOP;
        END $$`);
      beforeAll(() => statistics(0));
      afterAll(() => statistics(-1));

      it.each([
        ['one', '{"n":4711}', 1],
        ['none', '{"n":-1}', 0],
        ['some, of all days', '{"thousandth":5}', 50],
      ])('finds %s by the index', async (_, data, count) => {
        const { ids, jsonScans, rowsScanned } = await reading(null, (read) => searched(read, { data }));
        expect(ids).toEqual(await plainly(data));
        expect(ids).toHaveLength(count);
        expect(rowsScanned).toBeLessThan(FEW);
        expect(jsonScans).toBeGreaterThan(0);
      });

      it.each([
        ['in every message', '{"unit":"kWh"}', 'none'],
        ['in one of 40, more than the index is asked for', '{"fortieth":0}', 'some'],
      ])('finds the newest of what is %s', async (_, data, jsonScans) => {
        const found = await reading(null, (read) => searched(read, { data }));
        expect(found.ids).toEqual(await plainly(data));
        expect(found.ids).toHaveLength(50);
        expect(found.jsonScans > 0 ? 'some' : 'none').toBe(jsonScans);
      });

      it('narrows by tenant, site and time', async () => {
        const filter = { data: '{"fortieth":0}', tenantId: 'tenant-00', siteId: 'line3', from: hoursAgo(40), to: hoursAgo(20) };
        const { ids } = await reading(null, (read) => searched(read, filter));
        const { rows } = await sql.query<{ id: string }>(
          `SELECT message_id AS id FROM messages WHERE raw_data @> '{"fortieth":0}' AND tenant_id = 'tenant-00' AND site_id = 'line3'
             AND message_id >= uuidv7_floor($1) AND message_id < uuidv7_floor($2) ORDER BY message_id DESC LIMIT 50`,
          [filter.from, filter.to],
        );
        expect(rows.length).toBeGreaterThan(0);
        expect(ids).toEqual(rows.map(({ id }) => id));
      });

      it.each(['{"n":4711}', '{"thousandth":5}', '{"fortieth":0}', '{"unit":"kWh"}'])(
        'finds %s in a day without the index too',
        async (data) => {
          await sql.query(`BEGIN; DO $$ DECLARE name text; BEGIN
          FOR name IN SELECT indexname FROM pg_indexes WHERE indexdef LIKE '%USING gin (raw_data%' LIMIT 2 LOOP EXECUTE 'DROP INDEX ' || name; END LOOP;
          END $$; SELECT set_config('app.platform', 'on', true)`);
          try {
            const { rows } = await sql.query<{ id: string }>(
              `SELECT id FROM messages_containing($1, uuidv7_floor($2), NULL, NULL, NULL, 50) id ORDER BY id DESC`,
              [data, hoursAgo(60)],
            );
            expect(rows.map(({ id }) => id)).toEqual(await plainly(data));
          } finally {
            await sql.query('ROLLBACK');
          }
        },
      );
    });

    it.each(['{"n":4711}', '{"fortieth":0}', '{"unit":"kWh"}'])('leaves the settings of its caller as they were after %s', async (data) => {
      await reading(null, async (read) => {
        await read(`SELECT set_config('enable_seqscan', 'off', true)`);
        const settings = () => read(`SELECT name, setting FROM pg_settings ORDER BY name`);
        const before = await settings();
        await search(read, { data });
        expect(await settings()).toEqual(before);
      });
    });

    it('finds a common one, newest first, up to the page', async () => {
      const { items, nextCursor } = await reading(null, (read) => search(read, { data: '{"unit":"kWh"}' }));
      expect(items).toHaveLength(50);
      expect(nextCursor).not.toBeNull();
      expect(deviceOf(items[0]!)).toBe('DEVICE_1999');
    });

    it('is refused by the database to whoever does not see all tenants', async () => {
      const asTenant = reading(TENANT, (read) => read(`SELECT messages_containing('{"n":1}', NULL, NULL, NULL, NULL, 1)`));
      await expect(asTenant).rejects.toMatchObject({ code: '42501' });
    });
  });
});

/** One after another, 15 a day: so few that PostgreSQL, asked for any of them, expects to meet it soon wherever it begins. */
const FEW_BATCHES = [
  `SELECT ensure_partitions(${NOW} - interval '2 days', now())`,
  `INSERT INTO devices (tenant_id, device_id, site_id, created_at) VALUES ('tenant-07', 'DEVICE_0007', 'line1', ${NOW} - interval '3 days')`,
  `INSERT INTO batches (batch_id, tenant_id, batch_hash, message_count, start_timestamp, end_timestamp, status, created_at, open_root, receiver,
                        sealed_at, close_reason)
   SELECT uuidv7_floor(t), 'tenant-07', repeat('0', 64), 1000, t, t, 'complete', t, decode(repeat('00', 32), 'hex'), 'bridge-1', ${NOW}, 'size'
   FROM generate_series(0, 29) n, LATERAL (SELECT ${NOW} - interval '2 days' + n * interval '96 min' AS t) x`,
  `INSERT INTO messages (message_id, batch_id, leaf_index, tenant_id, site_id, device_id, topic, message_hash, payload, payload_size, nonce,
                         received_at, qos, retained)
   SELECT uuidv7_floor(t), batch_id, n, 'tenant-07', 'line1', 'DEVICE_0007', 'veep/x', repeat('0', 64), '', 0, decode(repeat('00', 16), 'hex'), t, 1, false
   FROM batches, generate_series(0, 999) n, LATERAL (SELECT created_at + n * interval '5 s' AS t) x`,
  'VACUUM ANALYZE batches, messages',
];

describe('messages by what few messages have, where PostgreSQL expects many', () => {
  let sql: pg.Client;
  beforeAll(async () => {
    sql = await databaseWith(FEW_BATCHES);
  });
  afterAll(() => sql.end());

  it.each([
    ['everybody', null],
    ['a tenant', TENANT],
  ])('reads the oldest batch of few, and not what is newer, for %s', async (_, tenantId) => {
    const { rows } = await sql.query<{ batchId: string }>('SELECT batch_id AS "batchId" FROM batches ORDER BY batch_id LIMIT 1');
    const [{ batchId }] = rows as [{ batchId: string }];
    for (const limit of [1, 50, 500]) {
      const list = new ListRequest('list', messageKeys({ batchId }), { limit });
      for (const query of [
        (read: Reader) => listMessages(read, { batchId }, list),
        (read: Reader) => listMessages(read, { batchId, from: hoursAgo(72) }, list),
        (read: Reader) => listMessages(read, { batchId, to: hoursAgo(1) }, list),
        (read: Reader) => listMessages(read, { batchId, from: hoursAgo(72), to: hoursAgo(1) }, list),
        (read: Reader) => listBatchMessages(read, batchId, list),
      ]) {
        const nodes = await readingAs(sql, tenantId, (read) => planned(read, query));
        expect(rowsRead(readingOf(/^messages/, nodes))).toBeLessThanOrEqual(limit + 2);
      }
    }
  });

  it.each<[string, string | null, (batchId: string) => MessagesFilter]>([
    ['everybody', null, () => ({ from: yesterday() })],
    ['a tenant', TENANT, () => ({ from: yesterday() })],
    ['a site', TENANT, () => ({ from: yesterday(), siteId: 'line1' })],
    ['a batch', TENANT, (batchId) => ({ batchId })],
  ])('locks no days but its own for a page of %s', async (_, tenantId, filterOf) => {
    await sql.query(`SELECT ensure_partitions(now() - interval '60 days', now())`);
    const { rows } = await sql.query<{ batchId: string }>('SELECT batch_id AS "batchId" FROM batches ORDER BY batch_id LIMIT 1');
    const filter = filterOf(rows[0]!.batchId);
    const days = await readingAs(sql, tenantId, async (read) => {
      await planned(read, (explaining) => listMessages(explaining, filter, new ListRequest('list', messageKeys(filter), { limit: 50 })));
      const locked = await read<{ day: string }>(
        `SELECT relation::regclass::text AS day FROM pg_locks
         WHERE pid = pg_backend_pid() AND relation IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'messages'::regclass)`,
      );
      return locked.map(({ day }) => day);
    });
    expect(days.length).toBeGreaterThan(0);
    // Yesterday, today, and what is made ahead.
    expect(days.length).toBeLessThanOrEqual(4);
  });

  it('reads the oldest batch alone of tables that were never analyzed', async () => {
    const unknown = await databaseWith(FEW_BATCHES.slice(0, -1));
    const { rows } = await unknown.query<{ batchId: string }>('SELECT batch_id AS "batchId" FROM batches ORDER BY batch_id LIMIT 1');
    const filter = { batchId: rows[0]!.batchId, from: hoursAgo(72) };
    const list = new ListRequest('list', messageKeys(filter), { limit: 50 });
    const nodes = await readingAs(unknown, TENANT, (read) => planned(read, (explaining) => listMessages(explaining, filter, list)));
    expect(rowsRead(readingOf(/^messages/, nodes))).toBeLessThanOrEqual(1_000);
    await unknown.end();
  });

  it('reads no others for a hash that none has, where all have another', async () => {
    const hash = '5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9';
    const list = new ListRequest('list', ['uuid'], { limit: 50 });
    const nodes = await readingAs(sql, TENANT, (read) => planned(read, (explaining) => listMessages(explaining, { hash }, list)));
    expect(readingOf(/^messages/, nodes)).not.toEqual([]);
    expect(rowsRead(readingOf(/^messages/, nodes))).toBe(0);
  });
});
